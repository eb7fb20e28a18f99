"""The grid, completeness, closure and the released product."""
