"""Streamer in Airflow: a connection, operators, triggers and a page.

Airflow conducts and shows; the truth is the operation's record in Kafka, and all of it works from
the command line as well.
"""
