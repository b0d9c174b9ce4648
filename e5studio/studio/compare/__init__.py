"""The Compare tab: two settings over the same texts, or every pair of prompts."""
