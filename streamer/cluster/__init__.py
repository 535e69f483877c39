"""The workers of an application as one: liveness, election, who owns what, fencing, hand-over."""
