"""What an interrupted command has written is taken up where its last whole chunk ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from classifier_training.errors import DataError, RunError
from classifier_training.inference.feature_files import RawFeatures, write_npy
from classifier_training.inference.journal import Journal, is_complete
from classifier_training.inference.rows import Row

HEAD = {"model": "abc", "rows": {"top_k": None}}
ROWS: list[Row] = [{"file": f"{number}.jpg", "label": "ü\n"} for number in range(5)]


def written(path: Path, rows: list[Row]) -> Journal:
    journal = Journal(path, HEAD, 2)
    for start in range(0, len(rows), 2):
        journal.append(rows[start : start + 2])
    return journal


def test_rows_come_back(tmp_path: Path) -> None:
    journal = written(tmp_path / "a.partial", ROWS)

    assert list(journal.rows()) == ROWS
    assert not is_complete(journal.path)
    journal.complete()
    journal.close()
    again = Journal(journal.path, HEAD, 2)
    assert (again.num_done, again.is_complete, list(again.rows())) == (5, True, ROWS)
    assert is_complete(journal.path)
    again.remove()
    assert not list(tmp_path.iterdir())


def test_wherever_it_is_cut_whole_chunks_are_taken_up(tmp_path: Path) -> None:
    journal = written(tmp_path / "a.partial", ROWS)
    journal.close()
    content = journal.path.read_bytes()
    head = content.index(b"\n") + 1

    for length in range(len(content) + 1):
        journal.path.write_bytes(content[:length])
        cut = Journal(journal.path, HEAD, 2)
        whole = content[head:length].count(b"\n") // 2 * 2 if length >= head else 0
        assert (cut.num_done, list(cut.rows())) == (whole, ROWS[:whole])
        cut.append(ROWS[whole:])
        cut.close()
        assert cut.path.read_bytes() == content


def test_another_model_or_other_options_are_refused_unless_overwritten(tmp_path: Path) -> None:
    journal = written(tmp_path / "a.partial", ROWS)
    journal.close()
    before = journal.path.read_bytes()

    with pytest.raises(RunError, match=r"a\.partial holds the rows of an unfinished command .* add --overwrite"):
        Journal(journal.path, HEAD | {"model": "def"}, 2)
    assert journal.path.read_bytes() == before
    other = Journal(journal.path, HEAD | {"model": "def"}, 2, overwrite=True)
    other.close()
    assert other.num_done == 0


def test_images_that_are_done_are_skipped_if_they_are_the_same(tmp_path: Path) -> None:
    journal = written(tmp_path / "a.partial", ROWS[:4])
    images = iter([Path(f"{number}.jpg") for number in range(6)])

    journal.skip_done(images)

    assert list(images) == [Path("4.jpg"), Path("5.jpg")]
    with pytest.raises(RunError, match=r"image 2 was 1\.jpg and is x\.jpg now; remove it to start again"):
        journal.skip_done(iter([Path("0.jpg"), Path("x.jpg")]))
    with pytest.raises(RunError, match=r"image 2 was 1\.jpg and is missing now"):
        journal.skip_done(iter([Path("0.jpg")]))
    journal.close()


def test_a_complete_file_is_not_taken_for_that_of_other_images(tmp_path: Path) -> None:
    journal = written(tmp_path / "a.partial", ROWS)
    journal.complete()
    names = [Path(row["file"]) for row in ROWS]

    def missing() -> Iterator[Path]:
        yield names[4]
        raise DataError("no such file or folder: 2.jpg")  # it is moved

    journal.check_complete(iter(names))
    journal.check_rest(iter([names[1], names[4]]))
    journal.check_rest(missing())
    with pytest.raises(RunError, match=r"a\.partial cannot be continued: image 2 was 1\.jpg and is 2\.jpg now"):
        journal.check_complete(iter([names[0], names[2]]))
    with pytest.raises(RunError, match=r"of an interrupted command with other images, without 5\.jpg; repeat that"):
        journal.check_complete(iter([*names, Path("5.jpg")]))
    with pytest.raises(RunError, match=r"without x\.jpg; repeat that command"):
        journal.check_rest(iter([names[1], Path("x.jpg")]))
    journal.close()


def test_features_are_kept_row_by_row(tmp_path: Path) -> None:
    raw = RawFeatures(tmp_path / "f.npy.partial", 3)
    values = [np.full(3, number, np.float32) if number != 1 else None for number in range(5)]
    journal = Journal(tmp_path / "a.partial", HEAD, 2, features=raw)
    for start in range(0, 5, 2):
        journal.append(ROWS[start : start + 2], values[start : start + 2])
    journal.close()

    again = Journal(tmp_path / "a.partial", HEAD, 2, features=raw)
    assert (again.num_done, raw.num_rows) == (4, 4)
    again.append(ROWS[4:], values[4:])
    again.complete()
    write_npy(tmp_path / "f.npy", raw.rows(), (5, 3))
    again.close()

    found = np.load(tmp_path / "f.npy")
    np.testing.assert_array_equal(found[:, 0], [0, np.nan, 2, 3, 4])
    raw.path.unlink()
    with_none = Journal(tmp_path / "a.partial", HEAD, 2, features=raw)
    assert (with_none.num_done, with_none.is_complete) == (0, False)
    with_none.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["f.npy"]
