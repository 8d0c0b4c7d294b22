"""Digest: signals become rewards, and feedback becomes training data."""
