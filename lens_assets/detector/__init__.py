"""Models, training, scoring and ensembles."""
