"""What is wrong or particular with a set of embedded texts: the figures, their verdicts, and how they are told."""
