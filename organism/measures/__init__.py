"""What a text is worth beside another: character acceptance, facts. Pure."""
