"""Detectability, false positives and the report."""
