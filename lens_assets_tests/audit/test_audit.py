"""Detectability and false positives by hand, and the page that shows a NO-GO as well as a GO."""

import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from lens_assets.audit.detectability import detectability
from lens_assets.audit.page import Number, Page, Picture, Section, Verdict, interval_text, render, table_of
from lens_assets.audit.taxonomy import false_positive_rates, in_bins, top_of_list


def _anchors() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "visible": [True, True, True, False, False],
            "score": [0.9, 0.8, 0.1, 0.95, 0.2],
            "stratum": ["tier A", "tier A", "tier B", "tier B", "tier B"],
        }
    )


def test_recall_factors_by_hand():
    report = detectability(_anchors(), {"fixed_0.5": 0.5}).set_index(["stratum", "part"])
    assert report.loc[("all", "observable"), ["k", "n"]].tolist() == [3, 5]
    assert report.loc[("all", "conditional"), ["k", "n"]].tolist() == [2, 3]
    assert report.loc[("all", "invisible"), ["k", "n"]].tolist() == [1, 2]
    assert report.loc[("all", "overall"), ["k", "n"]].tolist() == [3, 5]
    assert report.loc[("tier B", "conditional"), ["k", "n"]].tolist() == [0, 1]
    assert np.isnan(report.loc[("tier A", "invisible"), "rate"])
    expected = stats.beta.ppf(0.025, 3, 2)
    assert report.loc[("all", "conditional"), "lower_95"] == pytest.approx(expected)


def test_total_recall_is_the_sum_over_visible_and_invisible():
    rng = np.random.default_rng(2)
    anchors = pd.DataFrame(
        {"visible": rng.random(300) < 0.7, "score": rng.random(300), "stratum": rng.choice(["a", "b"], 300)}
    )
    rates = detectability(anchors, {"t": 0.6}).set_index(["stratum", "part"])["rate"]
    for stratum in ("all", "a", "b"):
        seen, found, found_unseen, total = (
            rates[(stratum, part)] for part in ("observable", "conditional", "invisible", "overall")
        )
        assert total == pytest.approx(seen * found + (1 - seen) * found_unseen)


def test_an_anchor_without_a_score_is_refused():
    with pytest.raises(ValueError, match="1 anchors have no score"):
        detectability(_anchors().assign(score=[0.9, np.nan, 0.1, 0.2, 0.3]), {"t": 0.5})


def _negatives() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "galaxy_id": list("abcdef"),
            "score": [0.9, 0.7, 0.1, 0.1, 0.1, 0.9],
            "confuser_category": ["ring", "ring", "ring", None, None, None],
        }
    )


def test_false_positive_rates_by_hand():
    rates = false_positive_rates(_negatives(), {"t": 0.5}, ["confuser_category"]).set_index("class")
    assert rates.loc["ring", ["k", "n"]].tolist() == [2, 3]
    assert rates.loc["none", ["k", "n"]].tolist() == [1, 3]
    assert rates.loc["ring", "share_of_false_positives"] == pytest.approx(2 / 3)
    assert rates.loc["ring", "lift"] == pytest.approx((2 / 3) / 0.5)


def test_the_top_of_a_list_is_ordered_by_score_then_id():
    top = top_of_list(_negatives(), 3)
    assert top["galaxy_id"].tolist() == ["a", "f", "b"]
    assert top["rank"].tolist() == [1, 2, 3]


def test_conditions_become_classes_and_nothing_is_clamped():
    classes = in_bins(pd.Series([1.0, 1.2, 5.0, np.nan]), (0.9, 1.2, 1.5), "arcsec")
    assert classes.iloc[:3].tolist() == ["0.90-1.20 arcsec", "1.20-1.50 arcsec", "outside"]
    assert pd.isna(classes.iloc[3])


def _page(decision: str) -> Page:
    go = decision == "GO"
    table = table_of(
        pd.DataFrame({"observable": ["arc <snr>"], "verdict": ["PASS" if go else "FAIL"], "value": [0.123456]}), "rows"
    )
    section = Section("realism", "Realism", ["Can they be told apart?"], [table], [Picture("a plot", b"\x89PNG")])
    missing = "" if go else "There is no completeness_table: realism_gate said NO-GO."
    return Page(
        title="Audit & report",
        subtitle="demo",
        verdicts=[Verdict("realism_gate", decision, "said <why>")],
        numbers=[Number("C", *interval_text(0.5, 0.4, 0.6))],
        sections=[section, Section("completeness", "Completeness", [], missing=missing)],
        lineage=table_of(pd.DataFrame({"asset": ["a"], "digest": ["f" * 64]}), "made from"),
    )


@pytest.mark.parametrize("decision", ["GO", "NO-GO", "NOT-EVALUATED"])
def test_the_page_shows_every_decision(decision):
    html = render(_page(decision)).decode()
    assert f'<strong class="{decision}">{decision}</strong>' in html
    assert ("There is no completeness_table" in html) == (decision != "GO")
    assert "95% interval 0.400 to 0.600" in html
    assert "f" * 64 in html


def test_the_page_needs_nothing_from_outside_and_escapes_what_it_shows():
    html = render(_page("GO")).decode()
    assert "arc &lt;snr&gt;" in html
    assert "said &lt;why&gt;" in html
    assert "Audit &amp; report" in html
    assert not re.findall(r'(?:src|href)="(?!data:|#)', html)
    assert "http" not in html


def test_long_tables_say_what_they_leave_out():
    table = table_of(pd.DataFrame({"x": range(100)}), "numbers", limit=10)
    assert len(table.rows) == 10
    assert "90 more rows" in table.caption


def test_a_number_without_support_is_not_a_number():
    assert interval_text(float("nan"), float("nan"), float("nan")) == ("n/a", "not supported by enough trials")
