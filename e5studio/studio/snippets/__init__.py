"""What was scored as programs that people copy, all made from one `ScoredState`. Knows no Gradio."""
