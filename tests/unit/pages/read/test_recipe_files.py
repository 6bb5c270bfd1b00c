"""The files of a run that tell of its recipe: damaged, missing, and of values that make no sense."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.run_folders import RunMaker, edit_json
from tests.unit.pages.sections.test_lr_range import TEST
from tests.unit.pages.sections.test_probe import START
from tests.unit.pages.sections.test_recipe import EVENTS, PLAN
from tests.unit.pages.sections.test_teacher import ENVIRONMENT, SCORES
from tests.unit.pages.sections.test_time import SPENT

from classifier_training.pages.read.run_data import read_run
from classifier_training.pages.report import render_report
from classifier_training.run.folder import RunFolder
from classifier_training.run.lr_range import write_range_test
from classifier_training.run.records import write_record

TITLES = {
    "plan.json": "SAM at 0.05",
    "events.json": "What happened",
    "time.json": "spent on",
    "probe.json": "Cross-validated log-loss",
    "lr_range.csv": "Loss by learning rate",
    "teacher.json": "The teacher classifies",
}
"""The files, and what the page shows of each."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    made = RunMaker(3, num_images=12, num_pictures=1).make(tmp_path_factory.mktemp("recipe") / "run")
    for path, record in (
        (made.plan, PLAN), (made.events, EVENTS), (made.time, SPENT), (made.probe, START), (made.teacher, SCORES)
    ):  # fmt: skip
        write_record(path, record)
    write_range_test(made.lr_range, TEST)
    edit_json(made.environment, **ENVIRONMENT)
    return made


def page_of(run: RunFolder) -> tuple[tuple[str, ...], str]:
    data = read_run(run.root)
    return data.missing, render_report(data)


def test_the_page_shows_all_of_them_and_nothing_is_missing(run: RunFolder) -> None:
    missing, page = page_of(run)
    assert missing == ()
    assert all(title in page for title in TITLES.values())


@pytest.mark.parametrize("name", TITLES)
@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe\x80", b"{", None])
def test_a_damaged_file_is_one_sentence_and_a_missing_one_is_none(
    run: RunFolder, name: str, content: bytes | None
) -> None:
    path = run.root / name
    whole = path.read_bytes()
    try:
        path.unlink() if content is None else path.write_bytes(content)
        missing, page = page_of(run)
    finally:
        path.write_bytes(whole)

    assert len(missing) == (content is not None)
    assert all(sentence.startswith(name) for sentence in missing)
    assert TITLES[name] not in page
    assert all(title in page for other, title in TITLES.items() if other != name)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("probe.json", {"strength": 1e300, "seconds": -1e300}),
        ("probe.json", {"curve": [{"strength": 1e-300, "log_loss": -1e300, "top1": 0, "standard_error": 1e300}]}),
        ("time.json", {"seconds": {"training": 1e300}}),
        ("time.json", {"seconds": {}}),
        ("time.json", {"forecast": {"value": 0, "low": 1, "high": 0}}),
        ("plan.json", {"rows": {"": "\u202e\n", "x" * 300: "y" * 5000}}),
        ("events.json", {"events": [{"time": "9999-12-31T23:59:59+00:00", "text": ""}]}),
        ("teacher.json", {"log_loss": 1e300, "num_images": 0}),
    ],
)
def test_strange_values_never_fail(run: RunFolder, name: str, changes: dict[str, object]) -> None:
    path: Path = run.root / name
    whole = path.read_text(encoding="utf-8")
    try:
        path.write_text(json.dumps(json.loads(whole) | changes), encoding="utf-8")
        page_of(run)
    finally:
        path.write_text(whole, encoding="utf-8")


def test_strange_rates_never_fail(run: RunFolder) -> None:
    whole = run.lr_range.read_bytes()
    try:
        for row in ("1e-300,1e300,-1e300", "1e300,0,0"):
            run.lr_range.write_text(f"lr,loss,smoothed\n{row}\n", encoding="utf-8")
            page_of(run)
    finally:
        run.lr_range.write_bytes(whole)
