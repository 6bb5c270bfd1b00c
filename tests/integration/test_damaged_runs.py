"""Every file of a run folder may be damaged: one line and exit code 2 where a command needs it, never a traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.cli import Trained, WarmProgram

FILES = ("config.yaml", "environment.json", "results.json", "data/split.csv", "export/labels_mapping.json")
"""Of every kind that several commands read."""
COMMANDS = {
    "report": ("report", "RUN"),
    "compare": ("compare", "RUN", "OTHER", "-o", "OUT"),
    "evaluate": ("evaluate", "RUN"),
    "evaluate onnx": ("evaluate", "RUN/export/model.onnx"),
    "predict": ("predict", "RUN", "PHOTOS"),
    "export": ("export", "RUN"),
    "resume": ("train", "--resume", "RUN"),
}
NEEDED = {
    "predict": ("config.yaml", "export/model.onnx", "export/labels_mapping.json"),
    "evaluate onnx": ("config.yaml", "environment.json", "data/split.csv", "export/model.onnx"),
    "evaluate": ("config.yaml", "environment.json", "data/split.csv", "checkpoints/best.ckpt"),
    "export": ("config.yaml", "environment.json", "data/split.csv", "checkpoints/best.ckpt"),
}
"""What the other commands do not read cannot disturb them."""
READ_AS_BY_ANOTHER = ("compare", "export", "evaluate")
"""Commands that read the files with the functions of another one: they meet one kind of damage."""
PAGE_FILES = (
    "metrics.csv", "timings.csv", "model_info.json", "data/statistics.json", "data/sampler_distribution.csv",
    "test/scores.json", "test/predictions.csv", "test/probabilities.npy", "test/confusion_matrix.csv",
    "test/pictures.json", "val/scores.json", "val/predictions.csv", "export/verification.json",
)  # fmt: skip
"""What a page shows, and hardly anything else reads."""
MODEL_FILES = {
    "checkpoints/best.ckpt": ("evaluate", "RUN"),
    "export/model.onnx": ("predict", "RUN", "PHOTOS"),
}
"""And the command that needs it."""


def damages(path: str, content: bytes) -> Iterator[bytes]:
    yield content[: len(content) // 2]
    yield bytes(len(content))
    yield b"\xff\xfe\x80" * 50
    if path.endswith(".json"):
        yield b"[]"
        yield json.dumps({key: ["\ud800"] for key in json.loads(content)}).encode()
    if path.endswith(".csv"):
        header, *rows = content.decode().splitlines()
        cells = ",".join(["9" * 30] * len(header.split(",")))
        yield "\n".join([header, *([cells] * len(rows))]).encode()


@pytest.mark.parametrize("path", FILES)
def test_a_damaged_file_is_one_line(program: WarmProgram, trained: Trained, tmp_path: Path, path: str) -> None:
    content = (trained.run.root / path).read_bytes()
    for number, damaged in enumerate(damages(path, content)):
        for name, words in COMMANDS.items():
            if path not in NEEDED.get(name, FILES) or (number and name in READ_AS_BY_ANOTHER):
                continue
            copy = tmp_path / "runs" / "copy"
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(trained.run.root, copy, ignore=shutil.ignore_patterns("*.png", "*.jpg", "tensorboard"))
            (copy / path).write_bytes(damaged)
            places = {"RUN": copy, "OTHER": trained.run.root, "OUT": tmp_path / "c.html", "PHOTOS": trained.photos}
            command = [word.replace("RUN", str(copy)) if word not in places else str(places[word]) for word in words]

            finished = program(*command, folder=tmp_path)

            case = f"{name} with damage {number}: {finished}"
            assert finished.code in {0, 2}, case
            assert "Traceback" not in finished.out + finished.err, case
            lines = finished.err.splitlines()
            assert len(lines) == (1 if finished.code else 0), case
            assert all(line.startswith("error: ") for line in lines), case
            assert (copy / path).read_bytes() == damaged or finished.code == 0, case


@pytest.mark.parametrize("path", PAGE_FILES)
def test_a_damaged_file_leaves_a_page(program: WarmProgram, trained: Trained, tmp_path: Path, path: str) -> None:
    copy = tmp_path / "runs" / "copy"
    shutil.copytree(trained.run.root, copy, ignore=shutil.ignore_patterns("*.png", "*.jpg", "*.ckpt", "tensorboard"))

    for number, damaged in enumerate(damages(path, (copy / path).read_bytes())):
        (copy / path).write_bytes(damaged)
        (copy / "report.html").unlink(missing_ok=True)

        finished = program("report", copy, folder=tmp_path)

        assert (finished.code, finished.err) == (0, ""), f"damage {number}: {finished}"
        assert (copy / "report.html").read_text(encoding="utf-8").rstrip().endswith("</html>")
        assert (copy / path).read_bytes() == damaged


@pytest.mark.parametrize("path", MODEL_FILES)
def test_what_a_command_needs_is_one_line(program: WarmProgram, trained: Trained, tmp_path: Path, path: str) -> None:
    copy = tmp_path / "runs" / "copy"
    shutil.copytree(trained.run.root, copy, ignore=shutil.ignore_patterns("*.png", "*.jpg", "tensorboard"))
    places = {"RUN": copy, "PHOTOS": trained.photos}
    before = {file: file.read_bytes() for file in trained.run.written_files()}

    for number, damaged in enumerate(damages(path, (copy / path).read_bytes())):
        (copy / path).write_bytes(damaged)

        finished = program(*(places.get(word, word) for word in MODEL_FILES[path]), folder=tmp_path)

        assert finished.code == 2, f"damage {number}: {finished}"
        assert len(finished.err.splitlines()) == 1, f"damage {number}: {finished}"
        assert finished.err.startswith("error: "), f"damage {number}: {finished}"
        assert (copy / path).read_bytes() == damaged
    assert {file: file.read_bytes() for file in trained.run.written_files()} == before
