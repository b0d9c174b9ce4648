"""Many visitors on one server: limits, queues, sessions, downloads, and patches of Gradio."""
