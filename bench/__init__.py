"""Benchmarks: ``python -m bench NAME``; what they measure is told in docs/benchmarks.md."""
