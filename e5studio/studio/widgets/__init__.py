"""The page's own components over `gr.HTML`; user text travels as data and is written as text, never as mark-up."""
