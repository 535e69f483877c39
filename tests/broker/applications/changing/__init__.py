"""One application over its lifetime: a module for each state of its code."""
