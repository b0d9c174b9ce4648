"""Components over `gr.HTML`; visitors' texts travel as data and are written as text, never as mark-up."""
