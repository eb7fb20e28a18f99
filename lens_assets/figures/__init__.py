"""Every plot of the project: arrays and frames in, figures out."""
