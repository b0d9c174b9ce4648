"""The Why panel: what a score is made of."""
