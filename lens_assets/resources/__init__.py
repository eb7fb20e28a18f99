"""Dagster resources: the lake and MLflow."""
