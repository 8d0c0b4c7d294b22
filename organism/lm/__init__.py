"""Small language models run on this machine: loading, drafting, streaming. Most modules here load torch."""
