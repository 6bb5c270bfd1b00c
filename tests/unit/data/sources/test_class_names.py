from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.photos import make_photos, photo_rows, write_table
from tests.helpers.shards import write_hub_parquet, write_shard

from classifier_training.data.sources.class_names import alike_but_for_case, match_class, plain_name
from classifier_training.data.sources.detect import list_photos
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.table import Columns
from classifier_training.errors import DataError
from classifier_training.evaluation.photos import check_labelled, select_samples

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


def labels(listing: Listing) -> set[str]:
    return {sample.label for split in (None, "train", "val", "test") for sample in listing.samples(split)}


@pytest.mark.parametrize(
    ("name", "plain"),
    [(" cat\t", "cat"), (DECOMPOSED, COMPOSED), ("\u00a0a b\u3000", "a b"), ("\ufeffcat", "cat"), ("Cat", "Cat")],
)
def test_plain_names(name: str, plain: str) -> None:
    assert plain_name(name) == plain


def test_matching() -> None:
    assert match_class("bee", [" bee", "ant"]) == " bee"
    assert match_class(" bee", ["bee", " bee"]) == " bee"
    assert match_class("bee ", ["bee", " bee"]) == "bee"
    assert match_class("bee", [" bee", "bee "]) is None
    assert match_class("Bee", ["bee"]) is None
    assert alike_but_for_case(["cat", "Cat", "dog", "CAT", "ss", "\u00df"]) == [("CAT", "Cat", "cat"), ("ss", "\u00df")]


def make_source(root: Path, kind: str, names: list[str]) -> Path:
    """A data set with an image of each class, in one of its forms."""
    if kind == "folders":
        return make_photos(root, dict.fromkeys(names, 1))
    if kind == "shards":
        write_shard(root / "a.tar", names)
        return root
    if kind == "numbered shards":
        write_shard(root / "a.tar", [str(number) for number in range(len(names))])
        (root / "classes.txt").write_text("\n".join(names), encoding="utf-8")
        return root
    if kind == "hub":
        return write_hub_parquet(root / "a.parquet", names)
    return write_table(root / f"annotations.{kind}", photo_rows(root, names))


@pytest.mark.parametrize("kind", ["folders", "shards", "hub", "csv", "jsonl", "parquet"])
def test_names_that_look_alike(tmp_path: Path, kind: str) -> None:
    names = ["cat", "cat ", COMPOSED, DECOMPOSED, "Dog", "dog"]

    listing = list_photos(make_source(tmp_path / "set", kind, names), cache=tmp_path / "cache")

    assert labels(listing) == {"cat", COMPOSED, "Dog", "dog"}
    notice, warning = listing.warnings
    assert notice.startswith("white space around class names and their Unicode form do not count: ")
    assert "'cat ' as 'cat'" in notice
    assert warning.startswith("the classes 'Dog' and 'dog' differ in upper and lower case only;")


@pytest.mark.parametrize("kind", ["folders", "shards", "hub", "csv", "jsonl", "parquet"])
def test_an_empty_label(tmp_path: Path, kind: str) -> None:
    source = make_source(tmp_path / "set", kind, ["cat", " ", "dog"])
    with pytest.raises(DataError, match=r"empty.*data\.on_missing_label=skip$"):
        list_photos(source, cache=tmp_path / "cache")

    found = list_photos(source, Columns(on_missing_label="skip"), cache=tmp_path / "cache")
    assert labels(found) == {"cat", "dog"}
    assert [warning for warning in found.warnings if warning.startswith("1 ") and "no label" in warning]


def test_a_missing_label_and_that_of_the_hub(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"image": "a.png", "label": null}\n{"image": "b.png", "label": "x"}\n')
    write_hub_parquet(tmp_path / "hub.parquet", [0, -1, 1], names=["a", "b"])
    for name, message in (("t.jsonl", "row 1: the column 'label' has no value"), ("hub.parquet", "row 2: -1 in the")):
        with pytest.raises(DataError, match=message):
            list_photos(tmp_path / name, cache=tmp_path / "cache")
        found = list_photos(tmp_path / name, Columns(on_missing_label="skip"), cache=tmp_path / "cache")
        assert found.warnings == [f"1 row(s) of {tmp_path / name} have no label and are left out"]


@pytest.mark.parametrize("names", [["cat", "dog", "cat"], ["cat", "dog", " cat"], [COMPOSED, DECOMPOSED, "x"]])
def test_class_names_by_index_that_are_one_class(tmp_path: Path, names: list[str]) -> None:
    write_hub_parquet(tmp_path / "hub" / "a.parquet", [0, 1], names=names)
    for source in (tmp_path / "hub", make_source(tmp_path / "set", "numbered shards", names)):
        with pytest.raises(DataError, match=r"names two classes .*, the indices 0 and [12]; make them differ"):
            list_photos(source, cache=tmp_path / "cache")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"cat": 0, "dog": 0}', "gives the number 0 to two classes, 'cat' and 'dog'"),
        ('{"0": "cat", "0": "dog"}', "holds the key '0' twice"),
        ('{"class_to_idx": {"cat": 1, "dog": 1}}', "gives the number 1 to two classes"),
    ],
)
def test_a_number_that_is_given_twice(tmp_path: Path, content: str, message: str) -> None:
    write_shard(tmp_path / "a.tar", ["0", "1"])
    (tmp_path / "classes.json").write_text(content)

    with pytest.raises(DataError, match=message):
        list_photos(tmp_path, cache=tmp_path / "cache")


@pytest.mark.parametrize("second", [None, ["dog", "cat"], ["cat", "dog", "cow"]])
def test_parquet_files_whose_class_names_differ(tmp_path: Path, second: list[str] | None) -> None:
    write_hub_parquet(tmp_path / "train-0.parquet", [0, 1], names=["cat", "dog"])
    write_hub_parquet(tmp_path / "train-1.parquet", [0, 1], names=second)

    with pytest.raises(DataError, match=r"train-1\.parquet has .*train-0\.parquet has 'cat', 'dog': an index would"):
        list_photos(tmp_path, cache=tmp_path / "cache")


def test_labelled_photos_of_a_model_with_other_spellings(tmp_path: Path) -> None:
    make_photos(tmp_path / "set", {COMPOSED: 1, "bee": 1})
    table = write_table(tmp_path / "t.csv", [{"image": "set/bee/0.png", "label": " bee"}])
    classes = (DECOMPOSED, "bee ")

    for source, expected in ((tmp_path / "set", [1, 0]), (table, [1])):
        chosen = select_samples(source, classes=classes, cache=tmp_path / "cache")
        assert check_labelled(chosen, classes).labels.tolist() == expected
