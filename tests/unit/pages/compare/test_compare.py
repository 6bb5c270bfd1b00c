from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers.run_folders import HOSTILE_FILES, HOSTILE_NAMES, RunMaker

from classifier_training.pages.compare.compare import compared_classes, render_compare
from classifier_training.pages.compare.compared_runs import compared_runs
from classifier_training.pages.read.run_data import RunData, read_run

GOOD = RunMaker(3, seed=1, skill=4.0, settings={"model.name": "resnet50", "optimizer.lr": 0.01})
BAD = RunMaker(3, seed=2, skill=0.5, num_epochs=5, settings={"model.name": "resnet18", "optimizer.lr": 0.001})


def read(folder: Path, **makers: RunMaker) -> list[RunData]:
    return [read_run(maker.make(folder / name).root, with_predictions=True) for name, maker in makers.items()]


def text_of(page: str) -> str:
    """What a person reads, spaces as one."""
    without = re.sub(r"<(script|style).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", without).split())


def test_the_page_shows_all_of_each_run(tmp_path: Path) -> None:
    page = text_of(render_compare(compared_runs(read(tmp_path, good=GOOD, bad=BAD))))

    assert "“good” is better than “bad”" in page
    for text in ("resnet50", "resnet18", "11.2 million", "21.5 ms", "39 s", "✓ verified", "best: 3", "best: 5"):
        assert text in page
    assert "optimizer.lr 0.01 0.001" in page
    assert "model.name resnet50 resnet18" in page
    assert "trainer.max_epochs" not in page  # the same in both
    for title in ("Top-1 on validation photos", "Validation loss", "Learning rate"):
        assert title in page


def test_recalls_stand_beside_each_other_with_their_difference(tmp_path: Path) -> None:
    page = text_of(render_compare(compared_runs(read(tmp_path, bad=BAD, good=GOOD))))

    rows = [maker.score("test").scores.classes for maker in (GOOD, BAD)]
    for index in range(3):
        best, other = (row[index].recall or 0.0 for row in rows)
        difference = f"{100 * (other - best):+.1f}".replace("-", "−")
        assert re.search(rf"class {index} 20 {100 * best:.0f}(\.0)? % {100 * other:.1f} % {difference}", page), index


def test_everything_can_be_missing(tmp_path: Path) -> None:
    whole, other = read(tmp_path, whole=GOOD, other=BAD)
    bare = replace(
        other, config={}, environment={}, final=None, validation=None, model_info=None, onnx=None, verification=None,
        seconds=None, best_epoch=None, missing=("nothing is there",),
    )  # fmt: skip

    page = text_of(render_compare(compared_runs([whole, bare])))

    assert "nothing is there" in page
    assert "“other” has no scores yet." in page
    assert "None of these runs has scores yet." in text_of(render_compare(compared_runs([bare, bare])))


def test_an_evaluation_is_compared_with_a_run(tmp_path: Path) -> None:
    folder = BAD.make_evaluation(tmp_path / "evaluation")

    page = text_of(
        render_compare(compared_runs([*read(tmp_path, run=GOOD), read_run(folder.root, with_predictions=True)]))
    )

    assert "“run” is better than “evaluation”" in page


@pytest.mark.parametrize("number", [2, 9])
def test_hostile_names_are_escaped(tmp_path: Path, number: int) -> None:
    maker = RunMaker(HOSTILE_NAMES, files=HOSTILE_FILES, settings={"run.name": "'<img src=x onerror=hacked>'"})
    names = [f"<svg onload=window.hacked=1>{place}" for place in range(number)]

    page = render_compare(compared_runs(read(tmp_path, **dict.fromkeys(names, maker))))

    assert len(re.findall("<script", page)) == 1
    assert "<svg onload" not in page
    assert "<img" not in page
    assert "&lt;svg onload=window.hacked=1&gt;0" in page


def test_the_best_run_comes_first_and_the_others_differ_from_it(tmp_path: Path) -> None:
    bad, good = RunMaker(2, skill=0.5), RunMaker(2, skill=5.0)

    table = compared_classes(compared_runs(read(tmp_path, bad=bad, good=good)))

    assert table is not None
    assert table["labels"] == ["good", "bad"]
    first, second = table["rows"][0]["cells"]
    assert first.recall == good.score("test").scores.classes[0].recall
    assert second.difference == pytest.approx(second.recall - first.recall)
    assert (first.difference, first.written_difference) == (None, "")
    assert second.written_difference.startswith("−")
    assert table["rows"][0]["spread"] == pytest.approx(-second.difference)


def test_a_class_that_a_run_does_not_know_or_did_not_see_is_none(tmp_path: Path) -> None:
    runs = read(tmp_path, first=RunMaker(("a", "b"), skill=9.0), second=RunMaker(("b", "c"), absent=[0]))

    table = compared_classes(compared_runs(runs))

    assert table is not None
    assert [row["name"] for row in table["rows"]] == ["a", "b", "c"]
    recalls = [[cell.recall is None for cell in row["cells"]] for row in table["rows"]]
    assert recalls == [[False, True], [False, True], [True, False]]
    assert [cell.support for cell in table["rows"][1]["cells"]] == [30, 0]
    assert [row["spread"] for row in table["rows"]] == [None] * 3


def test_nothing_is_compared_with_nothing(tmp_path: Path) -> None:
    (run,) = read(tmp_path, run=RunMaker(2))

    assert compared_classes(compared_runs([run, replace(run, final=None, validation=None)])) is None
