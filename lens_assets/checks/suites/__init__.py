"""The suites, one module a group of assets."""
