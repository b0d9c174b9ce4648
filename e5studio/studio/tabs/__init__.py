"""The right side of the page: one module for each way to look at a result."""
