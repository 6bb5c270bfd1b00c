import itertools
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from classifier_training.data import demo
from classifier_training.errors import DataError


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return demo.write_digits(tmp_path_factory.mktemp("demo") / "digits")


def inodes(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_ino for path in folder.rglob("*.png")}


def test_every_digit_is_written_once_in_its_class(digits: Path) -> None:
    target = load_digits().target
    written = {int(path.stem): path.parent.name for path in digits.glob("*/*/*.png")}
    assert len(written) == len(target) == demo.NUM_DIGITS
    assert written == {index: str(label) for index, label in enumerate(target)}


def test_pixels_are_the_real_ones_on_the_scale_0_to_255(digits: Path) -> None:
    images = load_digits().images
    for path in (digits / "test").rglob("*.png"):
        with Image.open(path) as image:
            assert image.mode == "L"
            np.testing.assert_array_equal(np.asarray(image), np.rint(images[int(path.stem)] * 255 / 16))


def test_split_is_70_15_15_in_every_class(digits: Path) -> None:
    counts = Counter((path.parts[-3], path.parts[-2]) for path in digits.rglob("*.png"))
    for label in "0123456789":
        total = sum(counts[split, label] for split in demo.SPLITS)
        for split, share in demo.SPLITS.items():
            assert abs(counts[split, label] - share * total) <= 1


def test_split_is_the_same_every_time() -> None:
    labels = np.repeat(np.arange(3), 20)
    first, second = demo.split_indices(labels), demo.split_indices(labels)
    assert first == second
    assert sorted(itertools.chain.from_iterable(first.values())) == list(range(60))
    assert {split: len(positions) for split, positions in first.items()} == {"train": 42, "val": 9, "test": 9}


def test_second_call_rewrites_nothing(digits: Path) -> None:
    before = inodes(digits)
    assert demo.write_digits(digits) == digits
    assert inodes(digits) == before


def test_nothing_temporary_is_left_beside(digits: Path) -> None:
    assert [path.name for path in digits.parent.iterdir()] == ["digits"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "digits"
    folder.mkdir(parents=True)
    demo.write_digits(folder)
    assert len(inodes(folder)) == demo.NUM_DIGITS


@pytest.mark.parametrize("as_file", [True, False])
def test_what_is_not_ours_is_refused_and_kept(tmp_path: Path, as_file: bool) -> None:
    target = tmp_path / "photos"
    kept = target if as_file else target / "train" / "cat" / "1.png"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(b"mine")
    with pytest.raises(DataError, match="does not hold the 1797 digits") as raised:
        demo.write_digits(target)
    assert str(target) in str(raised.value)
    assert kept.read_bytes() == b"mine"


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot write .*digits: (File exists|Not a directory)$"):
        demo.write_digits(tmp_path / "file" / "digits")


def test_missing_scikit_learn_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match=r"pip install scikit-learn") as raised:
        demo.write_digits(tmp_path / "digits")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())
