"""HTTP: the same acts as the pages and the command line, for machines. Mounted at /v1."""
