"""The command `streamer`: one module per command; `main` dispatches and turns errors into codes."""
