from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import yaml

from lens_assets.campaign.campaign import CAMPAIGNS_FOLDER, STAGES, campaign_folder, load_campaign, require_files
from lens_assets.campaign.errors import CampaignError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CAMPAIGNS_FOLDER / "demo", tmp_path / "edited"))


def edit(path: Path, pattern: str, replacement: str) -> None:
    text, count = re.subn(pattern, replacement, path.read_text(), count=1, flags=re.MULTILINE)
    assert count == 1, f"{pattern} not in {path}"
    path.write_text(text)


@pytest.mark.parametrize("name", ["demo", "dr10"])
def test_the_shipped_campaigns_load(name: str) -> None:
    campaign = load_campaign(name)
    assert set(STAGES) <= set(campaign.stages)
    assert campaign.experiments


@pytest.mark.parametrize(
    "path", sorted(CAMPAIGNS_FOLDER.rglob("*.yaml")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_every_setting_says_what_it_means(path: Path) -> None:
    lines = path.read_text().splitlines()
    bare = [
        f"{path.name}:{number + 1}: {line}"
        for number, line in enumerate(lines)
        if re.match(r"\s*(- )?[\w.]+:\s*[^\s#{\[]", line)
        and "#" not in line
        and len(line.split()) < 5  # a value that is a sentence explains itself
        and not (number and lines[number - 1].strip().startswith("#"))
    ]
    assert bare == []


def test_an_unknown_key_is_refused_with_the_known_ones(folder: Path) -> None:
    path = folder / "splits.yaml"
    path.write_text(path.read_text() + "\nsead: 42\n")
    with pytest.raises(
        CampaignError, match=r"splits.yaml: sead: found 42; expected no such key; known keys here: .*seed"
    ):
        load_campaign(folder)


def test_text_where_a_number_belongs_is_refused(folder: Path) -> None:
    edit(folder / "splits.yaml", r"^seed: \S+", 'seed: "42 s"')
    with pytest.raises(CampaignError, match='splits.yaml: seed: found "42 s"; expected .*integer'):
        load_campaign(folder)


def test_a_missing_key_is_named(folder: Path) -> None:
    edit(folder / "splits.yaml", r"^seed: .*$", "")
    with pytest.raises(CampaignError, match="splits.yaml: seed: found nothing; expected this key"):
        load_campaign(folder)


@pytest.mark.parametrize(
    ("line", "absurd", "words"),
    [
        (
            r"fitted_shift_mag: {minimum: \S+ maximum: [\d.]+}",
            "fitted_shift_mag: {minimum: 9.0, maximum: 90.0}",
            "+-4 mag",
        ),
        (r"g_minus_r: {mean: [\d.]+", "g_minus_r: {mean: 500.0", "g_minus_r: expected a mean within +-5 mag"),
    ],
)
def test_a_prior_that_no_galaxy_has_is_refused(folder: Path, line: str, absurd: str, words: str) -> None:
    edit(folder / "injection.yaml", line, absurd)
    with pytest.raises(CampaignError, match=re.escape(words)):
        load_campaign(folder)


def test_a_key_written_twice_is_refused(folder: Path) -> None:
    path = folder / "splits.yaml"
    path.write_text(path.read_text() + "\nseed: 43  # again\n")
    with pytest.raises(CampaignError, match="key written twice: seed"):
        load_campaign(folder)


@pytest.mark.parametrize("number", [".nan", ".inf"])
def test_a_number_that_is_not_finite_is_refused(folder: Path, number: str) -> None:
    edit(folder / "splits.yaml", r"^seed: \S+", f"seed: {number}")
    with pytest.raises(CampaignError, match="seed: found a number that is not finite"):
        load_campaign(folder)


def test_a_rule_over_several_keys_names_them_and_dumps_nothing(folder: Path) -> None:
    edit(folder / "splits.yaml", r"^  train: \S+", "  train: 0.5")
    with pytest.raises(CampaignError) as caught:
        load_campaign(folder)
    [problem] = caught.value.problems
    assert str(problem).endswith(
        "splits.yaml: fractions: splits.fractions train + val + test = 1.05; expected exactly 1"
    )


def test_every_problem_is_listed_at_once(folder: Path) -> None:
    for stage in ("splits", "survey"):
        path = folder / f"{stage}.yaml"
        path.write_text(path.read_text() + "\nunheard_of: 1\n")
    with pytest.raises(CampaignError) as caught:
        load_campaign(folder)
    assert {Path(problem.file).name for problem in caught.value.problems} == {"splits.yaml", "survey.yaml"}


def test_a_missing_file_and_a_stray_one_are_named(folder: Path) -> None:
    (folder / "realism.yaml").rename(folder / "realisme.yaml")
    with pytest.raises(CampaignError) as caught:
        load_campaign(folder)
    assert {Path(problem.file).name for problem in caught.value.problems} == {"realism.yaml", "realisme.yaml"}


def test_yaml_that_cannot_be_parsed_is_named(folder: Path) -> None:
    (folder / "report.yaml").write_text("title: [unclosed")
    with pytest.raises(CampaignError, match=r"report.yaml.*expected valid YAML"):
        load_campaign(folder)


def test_an_unknown_campaign_lists_the_known_ones() -> None:
    with pytest.raises(CampaignError, match="one of demo, dr10"):
        campaign_folder("nowhere")


def test_a_comment_or_the_order_of_keys_changes_no_digest(folder: Path) -> None:
    before = load_campaign(folder).settings_digest("splits")
    path = folder / "splits.yaml"
    path.write_text("# a remark\n" + path.read_text())
    assert load_campaign(folder).settings_digest("splits") == before


def test_another_list_under_the_same_name_is_another_setting(folder: Path) -> None:
    listed = {
        "name": "rings", "origin": "file", "path": "rings.csv", "sha256": "", "name_column": "", "ra_column": "ra",
        "dec_column": "dec", "category_column": "", "category": "ring", "galaxy_id_column": "", "keep_where": {},
    }  # fmt: skip
    path = folder / "catalogs.yaml"
    content = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**content, "contaminants": [listed]}))
    digests = {load_campaign(folder).settings_digest("catalogs")}
    with pytest.raises(CampaignError, match=r"catalogs\.yaml.*rings\.csv.*a file that is there"):
        require_files(load_campaign(folder))
    for rows in ("ra,dec\n10,1\n", "ra,dec\n10,2\n"):
        (folder / "rings.csv").write_text(rows)
        campaign = load_campaign(folder)
        digests.add(campaign.settings_digest("catalogs"))
        assert campaign.settings_digest("catalogs") == load_campaign(folder).settings_digest("catalogs")
    assert len(digests) == 3
    require_files(load_campaign(folder))


def test_an_experiments_edit_changes_only_its_own_digest(folder: Path) -> None:
    before = load_campaign(folder)
    name, *others = before.experiments
    edit(folder / "experiments" / f"{name}.yaml", r"^  seed: \d+", "  seed: 987")
    after = load_campaign(folder)
    changed = {stage for stage in after.contents if after.settings_digest(stage) != before.settings_digest(stage)}
    assert changed == {f"experiments/{name}"}
    assert others


def test_a_simulated_survey_needs_its_sky(folder: Path) -> None:
    (folder / "simulated_sky.yaml").unlink()
    with pytest.raises(CampaignError, match=r"simulated_sky.yaml: file: found missing; expected present"):
        load_campaign(folder)


def test_settings_cannot_be_changed_after_loading() -> None:
    with pytest.raises(Exception, match="frozen"):
        load_campaign("demo").splits.seed = 1  # type: ignore[misc]
