"""HEALPix, splits, cone matching and counter randomness."""
