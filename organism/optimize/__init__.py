"""Optimize: a training set becomes a better model, measured before and after."""
