"""One process's share of an application: the loop, its tasks, and what is around them.

`run` and `Worker` are in the modules of their names. Nothing is loaded here: parts of the package
serve the test driver too, which needs neither clients nor a server.
"""
