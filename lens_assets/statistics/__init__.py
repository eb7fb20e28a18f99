"""Intervals, bootstrap, thresholds and calibration."""
