"""Settings of the audit: what the report shows, and how much of it."""

from __future__ import annotations

from lens_assets.campaign.base import Settings, setting


class ReportSettings(Settings):
    """The stage `report`."""

    title: str = setting("heading of the audit report", min_length=1)
    top_candidates: int = setting("length of the list whose top is looked at", ge=1, le=100_000)
    gallery_stamps: int = setting("stamps shown in each gallery", ge=1, le=200)
    gallery_stretch_nanomaggies: float = setting("flux at which the colour stretch bends", "nmgy/pixel", gt=0)
    psf_edges_arcsec: tuple[float, ...] = setting("r-band PSF FWHM classes", "arcsec", min_length=2)
    depth_edges_mag: tuple[float, ...] = setting("r-band 5-sigma depth classes", "AB mag", min_length=2)
