"""The guide: a tour of a minute, and what the words of the field mean."""
