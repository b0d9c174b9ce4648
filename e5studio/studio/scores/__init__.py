"""The Scores tab: the matrix, its table and the picked pair."""
