"""What the Studio computes, without Gradio: plain data in, frozen dataclasses out."""
