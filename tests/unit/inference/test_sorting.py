"""Files that are copied or moved by their predicted class: none is lost, none overwritten, all can be put back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from classifier_training.errors import UserError
from classifier_training.inference.rows import Row
from classifier_training.inference.sorting import Mode, Sorter, class_folder, undo


def contents(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


def without_logs(root: Path) -> dict[str, str]:
    return {name: text for name, text in contents(root).items() if ".jsonl" not in name}


@pytest.fixture
def rows(tmp_path: Path) -> list[Row]:
    """Two files of one name, one that abstains, one that is not an image, one of another class."""
    rows: list[Row] = []
    for name, label, abstain in (
        ("x/a.jpg", "red", False),
        ("y/a.jpg", "red", False),
        ("y/b.jpg", "green/dark", False),
        ("y/c.jpg", "red", True),
        ("y/d.jpg", None, None),
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        rows.append({"file": str(path), "label": label, "abstain": abstain})
    return rows


def fail(warning: str) -> None:
    raise AssertionError(warning)


@pytest.mark.parametrize("mode", ["copy", "move"])
def test_files_go_into_class_folders_and_come_back(rows: list[Row], mode: Mode, tmp_path: Path) -> None:
    before, root = contents(tmp_path), tmp_path / "sorted"
    (root / "red").mkdir(parents=True)
    (root / "red" / "a.jpg").write_text("was there")
    sorter = Sorter(root, mode)

    counts = sorter.sort(rows, fail)
    log = sorter.finish()

    assert counts == {"red": 2, "green/dark": 1}
    assert without_logs(root) == {
        "red/a.jpg": "was there",
        "red/a-2.jpg": "x/a.jpg",
        "red/a-3.jpg": "y/a.jpg",
        "green%2Fdark/b.jpg": "y/b.jpg",
    }
    stayed = {"photos/y/c.jpg": "y/c.jpg", "photos/y/d.jpg": "y/d.jpg"}
    photos = {name: text for name, text in contents(tmp_path).items() if name.startswith("photos/")}
    assert photos == (before if mode == "copy" else stayed)

    assert undo(log, fail) == (3, 0)
    assert contents(tmp_path) == before | {"sorted/red/a.jpg": "was there"}
    assert not (root / "green%2Fdark").exists()


@pytest.mark.parametrize("mode", ["copy", "move"])
@pytest.mark.parametrize("num_sorted", [1, 2])
def test_what_was_stopped_goes_on(rows: list[Row], mode: Mode, num_sorted: int, tmp_path: Path) -> None:
    whole, stopped = Sorter(tmp_path / "whole", "copy"), Sorter(tmp_path / "stopped", mode)
    whole.sort(rows, fail)
    stopped.sort(rows[:num_sorted], fail)
    if num_sorted == 2:  # written into the log, but not done
        last = stopped.root / "red" / "a-2.jpg"
        last.unlink() if mode == "copy" else last.rename(rows[1]["file"])
    with stopped.log.open("ab") as file:
        file.write(b'{"done": "mo')

    stopped.sort(rows, fail)

    assert without_logs(stopped.root) == without_logs(whole.root)
    assert undo(stopped.finish(), fail) == (3, 0)


def test_logs_are_numbered(rows: list[Row], tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "sorted", "copy")
    names = []
    for _ in range(2):
        sorter.sort(rows[:1], fail)
        names.append(sorter.finish().name)

    assert names == ["copied.jsonl", "copied-2.jsonl"]


def test_a_file_that_has_gone_is_warned_of(rows: list[Row], tmp_path: Path) -> None:
    warnings: list[str] = []
    Path(rows[0]["file"]).unlink()

    remote: Row = {"file": "https://host/a.jpg", "label": "red"}
    counts = Sorter(tmp_path / "sorted", "move").sort([*rows, rows[2], remote], warnings.append)

    assert counts == {"red": 1, "green/dark": 1}
    assert warnings == [
        *(f"not sorted, as it is no longer there: {rows[at]['file']}" for at in (0, 2)),
        "not sorted, as it was named by an address: https://host/a.jpg",
    ]


def test_what_has_changed_since_is_left(rows: list[Row], tmp_path: Path) -> None:
    copies, moves = Sorter(tmp_path / "copies", "copy"), Sorter(tmp_path / "moves", "move")
    copies.sort(rows[:3], fail)
    moves.sort(rows[:3], fail)
    log = copies.finish(), moves.finish()
    warnings: list[str] = []
    (tmp_path / "copies" / "red" / "a.jpg").write_text("retouched")
    Path(rows[0]["file"]).write_text("a new one")
    (tmp_path / "moves" / "red" / "a-2.jpg").unlink()

    assert undo(log[1], warnings.append) == (1, 2)
    assert undo(log[0], warnings.append) == (1, 2)
    assert [warning.rpartition(" is left: ")[2] for warning in warnings] == [
        "neither it nor the file that it came from is there",
        f"there is another file at {rows[0]['file']}",
        "it is no longer the same as the file that it was copied from",
        "it is no longer the same as the file that it was copied from",
    ]
    assert Path(rows[0]["file"]).read_text() == "a new one"
    assert (tmp_path / "copies" / "red" / "a.jpg").read_text() == "retouched"
    assert all(path.exists() for path in log)


def test_links_do_not_lose_what_they_point_to(rows: list[Row], tmp_path: Path) -> None:
    source, link = Path(rows[0]["file"]), tmp_path / "photos" / "link.jpg"
    link.symlink_to("x/a.jpg")
    warnings: list[str] = []

    assert not Sorter(tmp_path / "moves", "move").sort([{"file": str(link), "label": "red"}], warnings.append)
    assert warnings == [f"not sorted, as it is a relative link, which points to nothing elsewhere: {link}"]
    copies = Sorter(tmp_path / "copies", "copy")
    copies.sort(rows[:1], fail)
    source.unlink()
    source.symlink_to(tmp_path / "copies" / "red" / "a.jpg")  # as programs do that remove duplicates
    assert undo(copies.finish(), warnings.append) == (0, 1)
    assert link.read_text() == "x/a.jpg"


def test_another_commands_log_is_refused(rows: list[Row], tmp_path: Path) -> None:
    sorter = Sorter(tmp_path / "sorted", "move")
    sorter.sort(rows[:1], fail)

    with pytest.raises(UserError, match=r"moved\.jsonl\.partial is the log of another command.*predict --undo"):
        sorter.sort(rows[1:], fail)
    (tmp_path / "other.jsonl").write_text('{"done": "move"}\n')
    with pytest.raises(UserError, match=r"other\.jsonl is not a log of --copy-to or --move-to: line 1"):
        undo(tmp_path / "other.jsonl", fail)
    with pytest.raises(UserError, match="there is no log"):
        undo(tmp_path / "none.jsonl", fail)


def test_files_that_are_where_they_belong_stay(rows: list[Row], tmp_path: Path) -> None:
    root = tmp_path / "sorted"
    Sorter(root, "move").sort(rows[:1], fail)
    Sorter(root, "move").finish()
    there: Row = {"file": str(root / "red" / "a.jpg"), "label": "red"}

    assert Sorter(root, "move").sort([there], fail) == {"red": 1}
    assert without_logs(root) == {"red/a.jpg": "x/a.jpg"}
    assert undo(Sorter(root, "move").finish(), fail) == (1, 0)
    assert without_logs(root) == {"red/a.jpg": "x/a.jpg"}


def test_every_class_has_a_folder_of_its_own_below_the_root() -> None:
    labels = [
        "",
        ".",
        "..",
        "../x",
        "a/b",
        "a\\b",
        "a%2Fb",
        "con",
        "CON.txt",
        "x.",
        "x ",
        "n\nl",
        "Über",
        "%",
        ".hidden",
        "\ud800",
    ]
    folders = [class_folder(label) for label in labels]

    assert len(set(folders)) == len(folders)
    for folder in folders:
        assert Path(folder).name == folder
        os.fsencode(folder)
        assert not folder.startswith(".")
    assert class_folder("Über") == "Über"
