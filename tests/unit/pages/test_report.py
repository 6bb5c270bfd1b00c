from __future__ import annotations

import dataclasses
import itertools
import json
import re
from pathlib import Path

import pytest
from tests.helpers.markup import Markup, read_markup
from tests.helpers.page_data import make_run
from tests.helpers.run_folders import HOSTILE_FILES, HOSTILE_NAMES, RunMaker

from classifier_training.pages.read.run_data import read_run
from classifier_training.pages.report import render_report

ORDER = [
    *("verdict", "curves", "weights", "confusion", "classes", "calibration", "coverage", "pictures", "photos", "repeat")
]
MAKERS = {
    "finished": RunMaker(3, num_images=30),
    "two classes": RunMaker(2, num_images=20),
    "one image, one epoch": RunMaker(3, num_images=1, num_epochs=1, num_pictures=1),
    "no test split": RunMaker(3, num_images=30, has_test=False),
    "training": RunMaker(3, num_images=30, is_finished=False),
    "an absent class": RunMaker(4, num_images=30, absent=(1,)),
    "hostile": RunMaker(HOSTILE_NAMES, num_images=60, files=HOSTILE_FILES),
    "many classes": RunMaker(100, num_images=200),
}


@pytest.fixture(params=MAKERS, scope="module")
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Markup:
    run = MAKERS[request.param].make(tmp_path_factory.mktemp("run"))
    return read_markup(render_report(read_run(run.root)))


def test_sections_are_there_in_their_order(page: Markup) -> None:
    assert [one.attributes["id"] for one in page.all("section") if one.attributes["id"] != "missing"] == ORDER
    assert [link.attributes["href"] for link in page.all("a")[1:]] == [f"#{key}" for key in ORDER]


def test_headings_are_in_order(page: Markup) -> None:
    levels = [int(one.tag[1]) for one in page.elements if re.fullmatch("h[1-6]", one.tag)]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_names_of_elements_are_unique_and_known(page: Markup) -> None:
    ids = [one.attributes["id"] for one in page.elements if "id" in one.attributes]
    referring = ("aria-labelledby", "aria-describedby", "data-search")

    assert len(ids) == len(set(ids))
    assert {one.attributes[name] for one in page.elements for name in referring if name in one.attributes} <= set(ids)


def test_nothing_is_loaded_and_no_script_or_style_hides_in_an_attribute(page: Markup) -> None:
    for element in page.elements:
        assert not [name for name in element.attributes if name.startswith("on") or name == "style"]
        assert element.attributes.get("src", "data:").startswith("data:")
        assert element.attributes.get("href", "#").startswith(("#", "data:,"))
    assert [one.attributes.get("type") for one in page.all("script")].count(None) == 1
    assert not [one for one in page.elements if one.tag in {"iframe", "object", "embed", "base", "form"}]


def test_everything_that_is_looked_at_has_words(page: Markup) -> None:
    assert all(one.attributes.get("alt") for one in page.all("img"))
    for drawing in page.all("svg"):
        is_hidden = drawing.attributes.get("aria-hidden") == "true"
        assert is_hidden or (drawing.attributes.get("role") == "img" and drawing.attributes.get("aria-label"))
    assert all(one.text.strip() or one.attributes.get("aria-label") for one in page.all("button") if not one.classes)


def test_tables_are_sorted_by_buttons_in_their_headers(page: Markup) -> None:
    sortable = page.all("table", "sortable")
    sorted_by = [one for one in page.all("th") if "aria-sort" in one.attributes]

    assert sortable
    assert sorted_by
    assert {one.attributes["aria-sort"] for one in sorted_by} == {"none"}
    assert len(page.all("button", "sort")) == len(sorted_by)


def test_hostile_names_are_text(tmp_path: Path) -> None:
    run = MAKERS["hostile"].make(tmp_path / "<script>window.hacked=1</script>")
    text = render_report(read_run(run.root))

    assert "<script>window" not in text
    assert "<img src=x" not in text
    text.encode("utf-8")
    assert "$\\frac{1}{2}$" in text
    assert "{{ 7 * 7 }}" in text


def test_the_matrix_of_the_script_is_that_of_the_scores(tmp_path: Path) -> None:
    data = read_run(MAKERS["finished"].make(tmp_path).root)
    matrix = json.loads(read_markup(render_report(data)).with_id("matrix-data").text)

    assert data.final is not None
    assert data.final.confusion is not None
    cells = matrix["cells"]
    counts = {(cells[at], cells[at + 1]): cells[at + 2] for at in range(0, len(cells), 3)}
    assert matrix["classes"] == list(data.classes)
    assert matrix["block"] is None
    whole = data.final.confusion.matrix()
    assert {place: whole[place] for place in counts} == counts
    assert sum(counts.values()) == whole.sum()


def test_an_evaluation_has_no_section_of_a_training(tmp_path: Path) -> None:
    folder = MAKERS["finished"].make_evaluation(tmp_path)
    page = read_markup(render_report(read_run(folder.root)))

    assert [one.attributes["id"] for one in page.all("section")] == [
        key for key in ORDER if key not in {"curves", "photos", "weights"}
    ]


def test_missing_files_are_listed() -> None:
    page = read_markup(render_report(make_run(missing=("results.json is not there",))))

    assert "results.json is not there" in page.with_id("missing").text


def test_a_run_of_which_nothing_is_known_says_so_in_every_section() -> None:
    empty = make_run(status="training", final=None, classes=(), num_epochs=0, best_epoch=None, best_score=None)
    page = read_markup(render_report(dataclasses.replace(empty, max_epochs=None, seconds=None)))

    reasons = [one.text for one in page.all("p", "empty")]
    assert len(reasons) == 8
    assert all(reasons)


def test_a_thousand_classes_stay_small(tmp_path: Path) -> None:
    run = RunMaker(1000, num_images=3000, num_pictures=0, num_epochs=2).make(tmp_path)

    assert len(render_report(read_run(run.root)).encode()) < 5_000_000
