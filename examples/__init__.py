"""Applications to read and to start from; each has its test in `examples/tests`."""
