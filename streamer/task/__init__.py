"""Tasks: their states, the order of their input, and the one place that knows how to commit."""
