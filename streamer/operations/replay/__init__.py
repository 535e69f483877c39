"""Replay: the state is computed once more from the input, beside the live one, and takes its place.

request (what is read again, by whom) -> kind (plan) -> steps: those of a repartition, whose feeds
copy what the replaying application has computed, between a wait for it and a comparison.
"""
