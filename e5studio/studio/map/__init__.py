"""The Map tab: texts as points."""
