"""Strays: records that are found where their keys are not at home, after a topic was grown."""
