"""Our own page components over `gr.HTML`: user text travels as data and is written as text, never as mark-up.

Functions that make a `gr.HTML`, not subclasses of it: for each subclass Gradio writes a .pyi
file beside the source, wherever that is installed. A component's own events ("pick", "choose")
are those that its script triggers.
"""
