"""What a changelog holds, how far a task has come in it, and how its topic is set up."""
