"""One module of settings a stage of the campaign."""
