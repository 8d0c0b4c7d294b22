"""The product's measures as `evaluate.Metric` modules, each in a folder that `evaluate.load` takes offline."""
