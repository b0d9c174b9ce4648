"""Numbers and texts -> figures for `components.plotly_view`, as plain dictionaries. Pure; no Gradio, no plotly."""
