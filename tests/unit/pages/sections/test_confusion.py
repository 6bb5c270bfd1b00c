from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from tests.helpers.page_data import make_example, make_run, make_scored
from tests.helpers.run_folders import RunMaker

from classifier_training.pages.read.run_data import read_run
from classifier_training.pages.sections.confusion import BLOCK, confusion_section


def test_the_most_frequent_error_is_in_the_lead() -> None:
    section = confusion_section(make_run(final=make_scored(((90, 10), (5, 95)))))

    assert section.lead.replace("\N{NO-BREAK SPACE}", " ") == (
        "15 of 200 test photos are misclassified. Most frequent error: “\u2068class 0\u2069” predicted as"
        " “\u2068class 1\u2069”, 10 of 100 (10 %)."
    )
    assert [(pair["cell"], pair["count"], pair["share"]) for pair in section.values["pairs"]] == [
        ("0,1", 10, 0.1),
        ("1,0", 5, 0.05),
    ]


def test_without_an_error_there_are_no_pairs() -> None:
    section = confusion_section(make_run(final=make_scored(((3, 0), (0, 4)))))

    assert section.lead.startswith("All of 7")
    assert section.values["pairs"] == []


def test_the_script_gets_the_cells_that_are_not_empty() -> None:
    matrix = confusion_section(make_run(final=make_scored(((3, 0), (2, 4))))).values["matrix"]

    assert matrix["classes"] == ["class 0", "class 1"]
    assert matrix["cells"] == [0, 0, 3, 1, 0, 2, 1, 1, 4]
    assert matrix["block"] is None


def test_many_classes_start_at_a_block() -> None:
    counts = np.eye(80, dtype=np.int64) * 5
    counts[70, 3] = 4
    values = confusion_section(make_run(final=make_scored(counts.tolist()))).values

    assert values["num_shown"] == len(values["matrix"]["block"]) == BLOCK
    assert {3, 70} <= set(values["matrix"]["block"])
    assert len(values["matrix"]["classes"]) == 80


def test_a_cell_has_its_images_and_those_on_the_page_are_not_included_twice(tmp_path: Path) -> None:
    data = read_run(RunMaker(2, num_images=40, skill=0.0, num_pictures=12).make(tmp_path).root)
    cells = confusion_section(data).values["images"]

    addresses = [address for images in cells.values() for _, _, address in images]
    assert len(addresses) == 12
    assert {address.partition("-")[0].partition(":")[0] for address in addresses} == {"#picture", "data"}


def test_an_image_that_is_gone_has_no_address() -> None:
    images = (make_example(why=frozenset({"cell"})), make_example(index=8))
    assert confusion_section(make_run(final=make_scored(images=images, examples_epoch=0))).values["images"] == {}
    scored = make_scored(images=images)

    images = confusion_section(make_run(final=scored)).values["images"]["0,1"]

    assert [address for _, _, address in images] == [None, None]


def test_an_empty_section_has_a_reason() -> None:
    assert confusion_section(make_run(final=None)).empty == "Nothing has been scored yet."
    unknown = dataclasses.replace(make_scored(), confusion=None)
    assert "confusion_matrix.csv" in (confusion_section(make_run(final=unknown)).empty or "")
