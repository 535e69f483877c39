"""Snapshots of tasks: made of a checkpoint, kept in a repository, fetched again, and removed.

`repository` is the door: a `Shelf` of it holds the snapshots of one task. `remote/` knows where
bytes lie; nothing here knows Kafka or a running worker.
"""
