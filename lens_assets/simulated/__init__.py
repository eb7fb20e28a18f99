"""The simulated sky of demo campaigns, written in the survey's own formats; nothing imports it but its asset."""
