"""A synthetic clinical scribe: invented encounters, notes, and a small model that drafts them. Not medical."""
