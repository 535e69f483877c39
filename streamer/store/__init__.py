"""Bytes at rest and the open transaction above them: one RocksDB per task."""
