"""lens_assets: measure the selection function of a strong-lens finder on DESI Legacy Imaging Surveys DR10."""
