"""The command line: everything that a page can do. `organism --help` lists it."""

from organism.cli.main import main

__all__ = ["main"]
