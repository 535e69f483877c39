"""Completing a repartition: what its former layout has left is deleted, topics and state.

survey -> request -> kind (plan) -> steps. All of it goes by the ports of ports.py; world.py has
those of Kafka.
"""
