"""Where a repository's bytes lie: one small interface, and a directory, S3 and SSH behind it."""
