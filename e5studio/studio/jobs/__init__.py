"""Long work behind a button: progress, stop, result."""
