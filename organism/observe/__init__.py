"""Observe: the loop's vital signs and what needs a person."""
