"""Mass, light, PSF, renderer, priors and injection."""
