"""Organism: the loop ingest, digest, optimize, deploy, observe, turned once a cycle."""

__version__ = "0.1.0"
