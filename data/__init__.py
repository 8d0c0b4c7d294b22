"""The shipped demo: a synthetic clinical scribe, its base model and its history."""
