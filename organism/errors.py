"""What can go wrong, as a tree.

OrganismError
  + InputError      what came in cannot be read (a bad file, a missing column, an unknown name)
  + DesignError     a reward design, run or experiment asks for the impossible
  + StoreError      the store is held by another process, too new, or cannot be written
  + ModelError      a model folder is missing, broken, or does not fit
  + RunError        a training run or a child process ended badly

A page shows these as a message, the API answers 4xx, the command line exits with 2 (bad input)
or 1 (failed); any other exception is a bug and is left to rise.
Each message says what was found, what was wanted, and how to mend it.
"""


class OrganismError(Exception):
    """Anything that the person at the screen can mend."""


class InputError(OrganismError, ValueError):
    """What came in cannot be read."""


class DesignError(OrganismError, ValueError):
    """A reward design, run or experiment asks for the impossible."""


class StoreError(OrganismError, RuntimeError):
    """The store is held by another process, too new, or cannot be written."""


class ModelError(OrganismError, RuntimeError):
    """A model folder is missing, broken, or does not fit."""


class RunError(OrganismError, RuntimeError):
    """A training run or a child process ended badly."""
