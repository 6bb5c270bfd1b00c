"""Training in a real Jupyter kernel."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.helpers.cli import ENVIRONMENT, SOURCE, TINY

SETTINGS = (*TINY, "trainer.devices=2", "trainer.max_epochs=2", "data.num_workers=1", "export.enabled=false")
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient

notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sys.argv[2:]])
NotebookClient(notebook, timeout=120, kernel_name="python3").execute(cwd=".")
nbformat.write(notebook, sys.argv[1])
"""


def execute(folder: Path, *cells: str) -> list[list[dict[str, Any]]]:
    """The outputs of each cell of a notebook, after a real kernel has run it."""
    file = folder / "notebook.ipynb"
    ended = subprocess.run(
        [sys.executable, "-c", EXECUTE, file, *cells],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return [cell["outputs"] for cell in json.loads(file.read_text(encoding="utf-8"))["cells"]]


def text_of(lines: str | list[str]) -> str:
    return lines if isinstance(lines, str) else "".join(lines)


def test_a_notebook_trains_on_one_device_and_shows_its_progress_in_one_place(photos: Path, tmp_path: Path) -> None:
    start = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\nfrom classifier_training import train"
    words = ", ".join(map(repr, (str(photos), *SETTINGS)))

    _, outputs, last = execute(tmp_path, start, f"result = train({words})", "print(result.split, result.run.exists())")

    assert {output["output_type"] for output in outputs} == {"stream", "display_data"}, outputs
    printed = "".join(text_of(output["text"]) for output in outputs if output["output_type"] == "stream")
    assert "\x1b" not in printed
    assert "ipywidgets" not in printed
    assert "started from a notebook: training uses one device instead of 2" in printed
    assert [line.split("  ")[0] for line in printed.splitlines() if line.startswith("epoch ")] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    shown = [text_of(output["data"]["text/plain"]) for output in outputs if output["output_type"] == "display_data"]
    (bar,) = [text for text in shown if "step " in text]  # every other bar is that of a long job
    assert bar.startswith("epoch 2/2")
    assert "\x1b" not in bar
    assert len(bar.splitlines()) == 1 or all(len(line) <= 100 for line in bar.splitlines())
    assert text_of(last[0]["text"]) == "test True\n"
