"""Typed settings of a campaign: load, validate, hash."""
