"""The page's functions as endpoints for programs."""
