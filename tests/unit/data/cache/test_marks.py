from __future__ import annotations

import errno
import pickle
from pathlib import Path

from classifier_training.data.cache.marks import DAMAGED, GOOD, MISFIT, UNKNOWN, CacheMarks


def test_marks_are_shared_by_all_who_know_the_path(tmp_path: Path) -> None:
    marks = CacheMarks.create(tmp_path / "marks", 5)
    others = [CacheMarks(tmp_path / "marks", 5), pickle.loads(pickle.dumps(marks))]  # noqa: S301 - our own

    marks[4] = GOOD
    others[0][0] = DAMAGED
    others[1][1] = MISFIT

    for one in (marks, *others):
        assert [one[position] for position in range(5)] == [DAMAGED, MISFIT, UNKNOWN, UNKNOWN, GOOD]
        assert one.positions(DAMAGED, MISFIT).tolist() == [0, 1]
        assert one.error == 0


def test_the_reason_to_stop_is_shared_and_is_not_a_mark(tmp_path: Path) -> None:
    marks = CacheMarks.create(tmp_path / "marks", 2)
    other = CacheMarks(tmp_path / "marks", 2)

    marks.stop(OSError(errno.ENOSPC, "full"))

    assert other.error == errno.ENOSPC
    assert [other[0], other[1]] == [UNKNOWN, UNKNOWN]


def test_an_error_without_a_number_stops_too(tmp_path: Path) -> None:
    marks = CacheMarks.create(tmp_path / "marks", 1)

    marks.stop(ValueError("no number"))
    assert marks.error > 0
    marks.stop(OSError(10_055, "a large number"))
    assert marks.error > 0


def test_without_a_file_every_process_has_its_own(tmp_path: Path) -> None:
    for path in (None, tmp_path / "missing"):
        marks = CacheMarks(path, 3)
        marks[2] = GOOD
        marks.stop(OSError(errno.EROFS, "read-only"))

        assert [marks[0], marks[2], marks.error] == [UNKNOWN, GOOD, errno.EROFS]
        assert CacheMarks(path, 3)[2] == UNKNOWN


def test_a_file_that_is_removed_is_not_an_error(tmp_path: Path) -> None:
    marks = CacheMarks.create(tmp_path / "marks", 3)
    marks[0] = GOOD
    (tmp_path / "marks").unlink()

    marks[1] = GOOD

    assert [marks[0], marks[1]] == [GOOD, GOOD]
