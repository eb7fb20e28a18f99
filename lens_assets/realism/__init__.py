"""Arc observables, the battery and the verdict."""
