"""What `streamer replay` does: plan, carry out, compare, and work."""
