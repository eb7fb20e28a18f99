"""The blinded panel: an offline page of mixed stamps, and the score of the form that comes back."""

from __future__ import annotations

import base64
import hashlib
import html
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lens_assets.campaign.stages.realism import PanelSettings
from lens_assets.realism.battery import FAIL, NOT_EVALUATED, PASS, row
from lens_assets.sky.randomness import uniform
from lens_assets.statistics.intervals import wilson_interval

ANSWERS = ("real", "injected")
ENLARGEMENT = 3
_PAGE_CODE_LENGTH = 8


class PanelError(ValueError):
    """A returned grading form is not what the page asked for; the message says where."""


@dataclass(frozen=True)
class Panel:
    """The key (stamp name, `truth` real or injected, position in its table) in page order."""

    key: pd.DataFrame


def choose(anchors: pd.DataFrame, injections: pd.DataFrame, settings: PanelSettings) -> Panel:
    """Choose equally many visible anchors and injections by hash, and mix them.

    Args:
        anchors: rows with `lens_id`; injections: rows with `injection_id`.
    """
    half = min(settings.stamps // 2, len(anchors), len(injections))
    parts = []
    for truth, table, column in (("real", anchors, "lens_id"), ("injected", injections, "injection_id")):
        names = table[column].astype(str).tolist()
        chosen = np.argsort(uniform(settings.seed, names, "panel_choice"), kind="stable")[:half]
        parts.append(pd.DataFrame({"id": [names[i] for i in chosen], "truth": truth, "row": chosen}))
    key = pd.concat(parts, ignore_index=True)
    order = np.argsort(uniform(settings.seed, key["id"].tolist(), "panel_order"), kind="stable")
    key = key.iloc[order].reset_index(drop=True)
    key.insert(0, "stamp", [f"S{number:03d}" for number in range(1, len(key) + 1)])
    return Panel(key)


def sealed(panel: Panel, images: NDArray[np.uint8]) -> Panel:
    """Return the panel with a code of its pictures (N, H, W, 3) in every stamp's name.

    A form then belongs to the pictures that were graded: after injections have changed, old answers are refused.
    """
    code = hashlib.sha256(np.ascontiguousarray(images).tobytes()).hexdigest()[:_PAGE_CODE_LENGTH]
    return Panel(panel.key.assign(stamp=[f"{code}-{name}" for name in panel.key["stamp"]]))


def page(panel: Panel, images: NDArray[np.uint8]) -> str:
    """Return a self-contained HTML page with a grading form that saves a CSV; images (N, H, W, 3) in page order."""
    rows = "\n".join(_figure(str(name), image) for name, image in zip(panel.key["stamp"], images, strict=True))
    return _PAGE.replace("{{rows}}", rows).replace("{{count}}", str(len(panel.key)))


def score(panel_key: pd.DataFrame, answers: pd.DataFrame, settings: PanelSettings) -> dict[str, object]:
    """Return the panel's row: the graders' accuracy, whose Wilson interval must contain 0.5.

    A few answers would hold 0.5 whatever they are: a page that is too short, or of which a stamp was graded by nobody,
    is not evaluated.

    Raises
    ------
        PanelError: a column is missing, a stamp is unknown, graded twice by one grader, or an answer is neither word.
    """
    missing = [name for name in ("grader", "stamp", "answer") if name not in answers]
    if missing:
        raise PanelError(f"the grading form lacks the columns {missing}; expected grader, stamp, answer")
    given = answers.dropna(subset=["answer"])
    given = given[given["answer"].astype(str).str.strip() != ""]
    _check(given, panel_key)
    truth = given["stamp"].map(panel_key.set_index("stamp")["truth"])
    right = int((truth.to_numpy() == given["answer"].astype(str).str.strip().to_numpy()).sum())
    asked, graded = 2 * (settings.stamps // 2), given["stamp"].nunique()
    if graded < max(asked, len(panel_key)):
        return missing_row(
            settings, f"{graded} of {len(panel_key)} stamps were graded, of a page that asks for {asked}"
        )
    lower, upper = (float(np.asarray(limit)) for limit in wilson_interval(right, len(given), settings.confidence))
    return row(
        "panel",
        PASS if lower <= 0.5 <= upper else FAIL,
        n_anchors=int((truth == "real").sum()),
        n_injections=float((truth == "injected").sum()),
        statistic="share of stamps the graders told right",
        value=right / len(given),
        lower=lower,
        upper=upper,
        requirement="interval contains 0.5",
        gates=settings.required,
    )


def missing_row(settings: PanelSettings, why: str) -> dict[str, object]:
    """Return the row of a panel without answers: it decides only where the campaign requires a panel."""
    whole = f"graded form of the panel's page, every one of {2 * (settings.stamps // 2)} stamps by someone"
    asked = whole if settings.required else "no panel (this campaign asks for none)"
    return row("panel", NOT_EVALUATED, statistic=why, requirement=f"{asked}; {why}", gates=settings.required)


def read_answers(path: Path) -> pd.DataFrame:
    """Read a returned form; PanelError names the file when it cannot be read."""
    try:
        return pd.read_csv(path, dtype="str")
    except (OSError, ValueError) as error:
        raise PanelError(f"{path}: not a readable grading form ({error}); save it again from the page") from error


def _check(given: pd.DataFrame, key: pd.DataFrame) -> None:
    unknown = sorted(set(given["stamp"]) - set(key["stamp"]))
    if unknown:
        raise PanelError(f"unknown stamps {unknown[:5]}; this form belongs to another page: grade panel.html again")
    twice = given[given.duplicated(["grader", "stamp"])]
    if len(twice):
        raise PanelError(f"graded twice by one grader: {_pairs(twice)}; keep one answer each")
    odd = given[~given["answer"].astype(str).str.strip().isin(ANSWERS)]
    if len(odd):
        raise PanelError(f"answers must be real or injected, not {sorted(set(odd['answer']))[:5]}")


def _pairs(frame: pd.DataFrame) -> Sequence[str]:
    return [f"{g}/{s}" for g, s in zip(frame["grader"], frame["stamp"], strict=True)][:5]


def _figure(name: str, image: NDArray[np.uint8]) -> str:
    from PIL import Image

    buffer = io.BytesIO()
    large = image.repeat(ENLARGEMENT, axis=0).repeat(ENLARGEMENT, axis=1)
    Image.fromarray(large).save(buffer, format="PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    safe = html.escape(name)
    choices = "".join(f'<label><input type="radio" name="{safe}" value="{word}"> {word}</label> ' for word in ANSWERS)
    picture = f'<img alt="{safe}" src="data:image/png;base64,{data}">'
    return f"<figure>{picture}<figcaption>{safe} {choices}</figcaption></figure>"


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Blinded panel</title>
<style>body{font-family:sans-serif;margin:1rem}figure{display:inline-block;margin:.5rem}img{image-rendering:pixelated}</style>
</head><body>
<h1>Real or injected?</h1>
<p>{{count}} colour stamps (g, r, z). Half are lenses from the sky, half are injections. Grade every one, then save
the form and hand it to whoever runs the campaign (setting panel.answers_csv).</p>
<p><label>Grader <input id="grader" value=""></label> <button onclick="save()">Save CSV</button></p>
<form>
{{rows}}
</form>
<script>
function save() {
  const grader = document.getElementById("grader").value.replace(/[",\\n]/g, " ") || "anonymous";
  const lines = ["grader,stamp,answer"];
  document.querySelectorAll("img").forEach(image => {
    const chosen = document.querySelector(`input[name="${image.alt}"]:checked`);
    lines.push([grader, image.alt, chosen ? chosen.value : ""].join(","));
  });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([lines.join("\\n") + "\\n"], {type: "text/csv"}));
  link.download = `panel-${grader}.csv`;
  link.click();
}
</script>
</body></html>
"""
