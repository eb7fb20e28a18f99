"""Catalogs of lenses and contaminants: reading, roles, identities and the match to the survey."""
