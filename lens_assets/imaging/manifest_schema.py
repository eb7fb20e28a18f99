"""The published schema of the training manifest: column names, order and Arrow types, and the columns that follow."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa

_STRING = (
    "cutout_path filename galaxy_id cutout_type timestamp pipeline_version cutout_url layer bands_requested tier "
    "match_type brickname split pool confuser_category nobs_z_bin type type_bin"
)
_INTEGER = "label size nobs_z nan_count_g nan_count_r nan_count_z"
_BOOLEAN = "has_g has_r has_z quality_ok"
_ORDER = (
    "cutout_path filename galaxy_id label cutout_type ra dec size pixel_scale timestamp pipeline_version cutout_url "
    "layer bands_requested tier weight nobs_z match_type brickname nan_count_g nan_count_r nan_count_z nan_frac "
    "central_nan_frac has_g has_r has_z core_brightness_r core_max_r annulus_brightness_r annulus_std_r "
    "outer_brightness_r radial_gradient_r mad_r std_r median_r mean_r percentile_1_r percentile_99_r clip_frac_r "
    "quality_ok split sample_weight pool confuser_category nobs_z_bin type type_bin healpix_128 psfsize_r "
    "psfdepth_r galdepth_r ebv"
)


def _type_of(name: str) -> pa.DataType:
    for names, kind in ((_STRING, pa.string()), (_INTEGER, pa.int64()), (_BOOLEAN, pa.bool_())):
        if name in names.split():
            return kind
    return pa.float64()


PUBLISHED = tuple((name, _type_of(name)) for name in _ORDER.split())
"""The columns that every manifest begins with, in this order. `healpix_128` is published as a double."""

REQUIRED = ("cutout_path", "label", "split", "sample_weight", "tier")
"""Never null, and declared so; every other published column may be null. What is written here has a galaxy_id and a
healpix_128 in every row as well, though the published schema does not demand it."""

EXTRA = (
    ("region_id", pa.int64()),
    ("fold", pa.int64()),
    ("lens_id", pa.string()),
    ("family", pa.string()),
    ("confirmation", pa.string()),
    ("evaluation_only", pa.bool_()),
    ("visible", pa.bool_()),
    ("stress_test", pa.bool_()),
    ("arc_visibility", pa.float64()),
    *((f"mag_{band}", pa.float64()) for band in "grz"),
    ("psfsize_g", pa.float64()),
    ("psfsize_z", pa.float64()),
    ("psfdepth_g", pa.float64()),
    ("psfdepth_z", pa.float64()),
    ("sky_partition", pa.string()),
    ("sampling_weight", pa.float64()),
    ("maskbits", pa.int64()),
    ("shape_r", pa.float64()),
    ("shape_e1", pa.float64()),
    ("shape_e2", pa.float64()),
    ("sersic", pa.float64()),
    ("stratum", pa.string()),
    ("settings_hash", pa.string()),
)
"""Columns after the published ones; the columns of the designs follow them."""


def manifest_schema(designs: Sequence[str]) -> pa.Schema:
    """Return the full schema: published columns, extra columns, then three columns for each sampling design.

    `in_<design>` is the membership, `sample_weight_<design>` and `sampling_weight_<design>` the weights there (null
    outside the design).
    """
    fields = [pa.field(name, kind, nullable=name not in REQUIRED) for name, kind in (*PUBLISHED, *EXTRA)]
    for design in designs:
        fields.append(pa.field(f"in_{design}", pa.bool_()))
        fields.append(pa.field(f"sample_weight_{design}", pa.float64()))
        fields.append(pa.field(f"sampling_weight_{design}", pa.float64()))
    return pa.schema(fields)


def to_manifest(frame: pd.DataFrame, designs: Sequence[str]) -> pa.Table:
    """Return a frame as an Arrow table of exactly the manifest schema; columns the frame lacks are all null.

    Raises ValueError if a required column has a null or an identifier is not unique.
    """
    schema = manifest_schema(designs)
    arrays = []
    for field in schema:
        if field.name not in frame:
            arrays.append(pa.nulls(len(frame), field.type))
        else:
            arrays.append(_as_type(frame[field.name], field))
    for name in (*REQUIRED, "galaxy_id", "healpix_128"):
        nulls = arrays[schema.get_field_index(name)].null_count
        if nulls:
            raise ValueError(f"training manifest: {nulls} rows have no {name}; expected none")
    for name in ("galaxy_id", "cutout_path"):
        repeated = frame[name][frame[name].duplicated()]
        if len(repeated):
            raise ValueError(f"training manifest: {name} {repeated.iloc[0]!r} stands twice; expected once")
    return pa.Table.from_arrays(arrays, schema=schema)


def _as_type(column: pd.Series, field: pa.Field) -> pa.Array:
    """Return a column as the wanted Arrow type; NaN and None become null."""
    try:
        return pa.Array.from_pandas(column.astype(object).where(column.notna(), None), type=field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        return _through_float(column, field, error)


def _through_float(column: pd.Series, field: pa.Field, error: Exception) -> pa.Array:
    """Convert numbers that arrive in another numeric type (integers as floats after a join, and the reverse)."""
    if not pd.api.types.is_numeric_dtype(column.dtype) or pa.types.is_string(field.type):
        raise ValueError(f"training manifest: column {field.name} does not fit {field.type}: {error}") from error
    numbers = pa.Array.from_pandas(column.astype("float64"))
    return numbers.cast(field.type)
