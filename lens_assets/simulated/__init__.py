"""The demo sky: a small survey in DR10's own formats, with a ray shooter of its own."""
