"""Experiment: assignment, analysis and decision."""
