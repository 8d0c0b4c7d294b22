"""Small language models run on this machine: loading, drafting, streaming. Importing a module here loads torch."""
