"""How a model learns, a file a recipe: each has `train(job)`, which leaves an adapter in the run's folder."""
