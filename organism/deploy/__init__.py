"""Deploy: model versions, the alias that points at one, and the process that serves it."""
