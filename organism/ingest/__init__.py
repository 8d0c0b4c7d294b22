"""Ingest: bytes of strangers become interactions, feedback and outcomes."""
