"""`python -m organism` is the same command as `organism`."""

import sys

from organism.cli import main

sys.exit(main())
