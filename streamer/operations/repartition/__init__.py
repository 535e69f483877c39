"""Repartition: the number of tasks is changed while the application runs.

request -> kind (plan) -> steps: topics, feeding, copies, proofs, switching. All of it goes by the
ports of ports.py; world.py has those of Kafka.
"""
