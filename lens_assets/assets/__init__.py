"""The lineage, one module a group: thin functions that read inputs, call the domain and return a product."""
