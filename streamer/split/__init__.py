"""State of one layout made into state of another: split by home, merged by target, compared.

It knows neither Kafka nor a running worker: it is given directories with databases that nobody
writes to, and makes directories of its own.
"""
