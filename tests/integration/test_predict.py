"""`predict` as a process: killed and started again, fed by a pipe, with many files."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path

import pytest
from tests.helpers.cli import Trained, WarmProgram

_PIPED = """
import os, sys
from classifier_training.cli import main

reading, writing = os.pipe()
os.write(writing, sys.argv[1].encode().replace(b"|", b"\\0"))
os.close(writing)
os.dup2(reading, 0)
sys.stdin = open(0)
main(sys.argv[2:])
"""


_LIMITED = """
import resource, sys
from classifier_training.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (3_000, 3_000))
main(sys.argv[1:])
"""


def test_a_full_disk_is_one_line_and_the_command_goes_on_later(
    program: WarmProgram, trained: Trained, tmp_path: Path
) -> None:
    words = ("predict", trained.run.onnx, trained.photos, "--output", "labels.jsonl")
    stopped = program.python(_LIMITED, *words, folder=tmp_path)

    assert stopped.code == 2, stopped
    (line,) = stopped.err.splitlines()
    assert line.startswith("error: cannot write labels.jsonl.partial: ")
    assert [path.name for path in tmp_path.iterdir()] == ["labels.jsonl.partial"]
    finished = program(*words, folder=tmp_path)
    assert finished.code == 0, finished
    assert "were predicted by an earlier start" in finished.out
    assert len((tmp_path / "labels.jsonl").read_text().splitlines()) == 48


@pytest.mark.parametrize("name", ["labels.csv", "labels.jsonl", "labels.parquet"])
def test_a_killed_command_goes_on_and_ends_with_the_same_bytes(
    program: WarmProgram, trained: Trained, tmp_path: Path, name: str
) -> None:
    shutil.copytree(trained.photos, tmp_path / "photos")
    (tmp_path / "photos" / "green" / "00.png").write_bytes(b"no image")
    words = ("predict", trained.run.onnx, "photos", "--batch-size", "5", "--output", name)
    whole = program(*words, folder=tmp_path)
    assert whole.code == 1, whole
    expected = (tmp_path / name).read_bytes()
    (tmp_path / name).unlink()

    killed = program.signalled(signal.SIGKILL, "red/10.png", *words, folder=tmp_path)
    assert killed.code != 0
    assert not (tmp_path / name).exists()
    partial = (tmp_path / f"{name}.partial").read_bytes()
    again = program(*words, folder=tmp_path)

    assert again.code == 1, again
    assert (tmp_path / name).read_bytes() == expected
    assert not (tmp_path / f"{name}.partial").exists()
    num_done = partial.count(b"\n") - 1
    assert num_done >= 5
    assert f"{num_done // 5 * 5} images were predicted by an earlier start" in again.out


def test_a_killed_move_loses_no_file_and_ends_like_one_that_was_not(
    program: WarmProgram, trained: Trained, tmp_path: Path
) -> None:
    results = []
    for name in ("whole", "killed"):
        folder = tmp_path / name
        shutil.copytree(trained.photos, folder / "photos")
        words = ("predict", trained.run.onnx, "photos", "--move-to", "sorted")
        if name == "killed":
            for nth in (1, 9):
                killed = program.signalled(signal.SIGKILL, "moved.jsonl.partial", *words, nth=nth, folder=folder)
                assert killed.code != 0
        finished = program(*words, folder=folder)
        assert finished.code == 0, finished
        results.append(sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()))
        undone = program("predict", "--undo", "sorted/moved.jsonl", folder=folder)
        assert "48 files are where they were before" in undone.out
        assert len(list((folder / "photos").rglob("*.png"))) == 48

    assert results[0] == results[1]
    assert len(results[0]) == 49


def test_names_come_through_a_pipe(program: WarmProgram, trained: Trained, tmp_path: Path) -> None:
    names = ["two\nlines.png", "a b.png"]
    for name in names:
        shutil.copy(trained.photos / "red" / "00.png", tmp_path / name)

    finished = program.python(
        _PIPED, "|".join(names), "predict", trained.run.onnx, "-", "--format", "jsonl", folder=tmp_path
    )

    assert finished.code == 0, finished
    assert [json.loads(line)["file"] for line in finished.out.splitlines()] == names
