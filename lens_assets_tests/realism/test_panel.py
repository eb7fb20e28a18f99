"""The blinded panel: who is shown, what the page holds, and how the form is scored."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

from lens_assets.realism.panel import PanelError, choose, missing_row, page, read_answers, score, sealed
from lens_assets.statistics.intervals import wilson_interval
from lens_assets_tests.realism.tables import demo_realism

ASKED = demo_realism(panel__required=True).panel
ANCHORS = pd.DataFrame({"lens_id": [f"lens-{row}" for row in range(60)]})
INJECTIONS = pd.DataFrame({"injection_id": [f"injection-{row}" for row in range(90)]})
KEY = choose(ANCHORS, INJECTIONS, ASKED).key


def form(right: int, total: int = 50, grader: str = "a") -> pd.DataFrame:
    """Answers to the first `total` stamps, `right` of them right."""
    key = KEY.iloc[:total]
    other = key["truth"].map({"real": "injected", "injected": "real"})
    answer = np.where(np.arange(total) < right, key["truth"], other)
    return pd.DataFrame({"grader": grader, "stamp": key["stamp"], "answer": answer})


def test_half_are_real_and_the_order_tells_nothing():
    assert len(KEY) == 50 and (KEY["truth"] == "real").sum() == 25
    assert KEY["id"].is_unique and KEY["stamp"].is_unique
    runs = 1 + (KEY["truth"].to_numpy()[1:] != KEY["truth"].to_numpy()[:-1]).sum()
    assert 16 < runs < 36
    assert choose(ANCHORS.sample(frac=1, random_state=1), INJECTIONS, ASKED).key["id"].tolist() == KEY["id"].tolist()


def test_few_anchors_make_a_short_page_with_equal_halves():
    key = choose(ANCHORS[:7], INJECTIONS, ASKED).key
    assert key["truth"].value_counts().to_dict() == {"real": 7, "injected": 7}


@pytest.mark.parametrize("right,verdict", [(25, "PASS"), (31, "PASS"), (19, "PASS"), (40, "FAIL"), (10, "FAIL")])
def test_the_interval_of_the_accuracy_must_contain_one_half(right, verdict):
    item = score(KEY, form(right), ASKED)
    assert item["verdict"] == verdict and item["gates"] is True
    assert item["value"] == right / 50
    lower, upper = wilson_interval(right, 50, 0.95)
    assert (item["lower"], item["upper"]) == (pytest.approx(float(lower)), pytest.approx(float(upper)))
    interval = binomtest(right, 50).proportion_ci(0.95, method="wilson")
    assert (verdict == "PASS") == (interval.low <= 0.5 <= interval.high)
    assert item["n_anchors"] + item["n_injections"] == 50


def test_answers_of_several_graders_are_pooled_and_blanks_do_not_count():
    first, second = form(30), form(20, grader="b")
    second.loc[40:, "answer"] = ""
    item = score(KEY, pd.concat([first, second]), ASKED)
    assert item["n_anchors"] + item["n_injections"] == 90
    assert item["value"] == pytest.approx(50 / 90)


def test_without_answers_the_panel_decides_only_where_it_is_required():
    free = ASKED.model_copy(update={"required": False})
    for settings, gates in ((ASKED, True), (free, False)):
        item = missing_row(settings, "no graded form was returned")
        assert item["verdict"] == "NOT-EVALUATED" and item["gates"] is gates
    assert score(KEY, form(0).assign(answer=""), ASKED)["verdict"] == "NOT-EVALUATED"


@pytest.mark.parametrize("stamps", [1, 49])
def test_a_form_with_gaps_is_not_evaluated_however_it_turns_out(stamps):
    item = score(KEY, form(stamps // 2, total=stamps), ASKED)
    assert item["verdict"] == "NOT-EVALUATED" and item["gates"] is True
    assert f"{stamps} of 50 stamps were graded" in str(item["statistic"])
    rest = form(25, grader="b").iloc[stamps:]
    assert score(KEY, pd.concat([form(stamps // 2, total=stamps), rest]), ASKED)["verdict"] == "PASS"


def test_a_page_that_is_too_short_is_not_evaluated():
    short = choose(ANCHORS[:7], INJECTIONS, ASKED).key
    answers = pd.DataFrame({"grader": "a", "stamp": short["stamp"], "answer": ["real", "injected"] * 7})
    assert score(short, answers, ASKED)["verdict"] == "NOT-EVALUATED"


def test_answers_to_other_pictures_are_refused():
    images = np.zeros((50, 9, 9, 3), np.uint8)
    panel = choose(ANCHORS, INJECTIONS, ASKED)
    first, second = sealed(panel, images), sealed(panel, images + 1)
    answers = form(25).assign(stamp=first.key["stamp"])
    assert score(first.key, answers, ASKED)["verdict"] == "PASS"
    with pytest.raises(PanelError, match="belongs to another page: grade panel.html again"):
        score(second.key, answers, ASKED)
    assert sealed(panel, images).key.equals(first.key)


@pytest.mark.parametrize(
    "damage,message",
    [
        (lambda f: f.drop(columns="answer"), r"lacks the columns \['answer'\]"),
        (lambda f: f.assign(stamp="S999"), "unknown stamps"),
        (lambda f: pd.concat([f, f]), "graded twice"),
        (lambda f: f.assign(answer="maybe"), "real or injected"),
    ],
)
def test_a_form_that_is_not_the_pages_is_refused(damage, message):
    with pytest.raises(PanelError, match=message):
        score(KEY, damage(form(25)), ASKED)


def test_a_file_that_is_no_form_is_named(tmp_path):
    with pytest.raises(PanelError, match="absent.csv"):
        read_answers(tmp_path / "absent.csv")
    form(25).to_csv(tmp_path / "form.csv", index=False)
    assert score(KEY, read_answers(tmp_path / "form.csv"), ASKED)["verdict"] == "PASS"


def test_the_page_is_offline_and_does_not_tell():
    images = np.random.default_rng(0).integers(0, 255, (50, 9, 9, 3)).astype(np.uint8)
    text = page(choose(ANCHORS, INJECTIONS, ASKED), images)
    assert text.count("<figure>") == 50 and "50 colour stamps" in text
    assert "http://" not in text and "https://" not in text
    assert not any(name in text for name in KEY["id"])
