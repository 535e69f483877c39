"""The control topics as records and as answers: what the CLI and schedulers may import."""
