"""The Diagnose tab: what is odd about texts and their vectors."""
