"""Plots of the injections are drawn for full and for empty tables."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lens_assets.figures.galleries import lupton_rgb
from lens_assets.figures.injection import cell_map, score_pairs, triplets


def rendered(figure: object) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def test_a_triplet_has_three_rows_and_a_column_each() -> None:
    stamps = np.random.default_rng(0).normal(0, 0.003, (4, 3, 41, 41))
    figure = triplets(stamps, stamps + 0.01, stamps * 0 + 0.01, [f"n{index}" for index in range(4)])
    (axis,) = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["arc", "injected", "host"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["n0", "n1", "n2", "n3"]
    shown = axis.images[0].get_array()
    for row, column in np.ndindex(3, 4):
        centre = (int(axis.get_yticks()[row]), int(axis.get_xticks()[column]))
        expected = lupton_rgb((stamps * 0 + 0.01, stamps + 0.01, stamps)[row])[column]
        assert (shown[centre[0] - 22 : centre[0] + 19, centre[1] - 22 : centre[1] + 19] == expected).all()
    assert rendered(figure).std() > 0


def test_no_injections_is_said() -> None:
    nothing = np.zeros((0, 3, 1, 1))
    assert "no injections" in triplets(nothing, nothing, nothing, []).texts[0].get_text()


def test_the_cell_map_puts_every_count_where_it_belongs() -> None:
    cells = pd.DataFrame({"hosts": [1, 2, 3, 4, 5, 6], "planned": [0, 0, 7, 0, 0, 9]})
    figure = cell_map(cells, [1.0, 1.2, 1.4], [24.0, 24.5])
    image = figure.axes[0].images[0].get_array()
    assert image.tolist() == [[1, 3, 5], [2, 4, 6]]


def test_scores_without_an_injected_value_are_drawn() -> None:
    assert rendered(score_pairs(np.array([0.1, 0.2]), np.array([np.nan, 0.9]))).std() > 0
