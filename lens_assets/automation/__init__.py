"""Jobs, sensors, conditions and the driver that runs a whole campaign."""
