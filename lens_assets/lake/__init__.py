"""The store of a campaign: Parquet and files that become visible in one step, with provenance."""
