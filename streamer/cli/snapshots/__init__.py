"""What `streamer snapshot` does with a repository, beside asking workers for more."""
