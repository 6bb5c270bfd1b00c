"""What is answered without torch is answered at once, and what is deployed needs numpy, Pillow and onnxruntime only."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.cli import SOURCE, Finished, Trained

from classifier_training.results.folder import read_scores
from classifier_training.run.folder import ScoredFolder
from classifier_training.run.records import to_json

COMMAND = """
import sys
from classifier_training.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    code = end.code or 0
else:
    code = 0
heavy = {"torch", "torchvision", "lightning", "timm", "torchmetrics", "numpy"}
print("IMPORTED", *sorted(heavy & {name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""

# what `pip install numpy pillow onnxruntime` brings, the standard library, and nothing else
BARE = """
import json, sys

class OnlyWhatIsDeployed:
    allowed = {
        "numpy", "PIL", "onnxruntime", "classifier_training",
        "flatbuffers", "google", "packaging", "sympy", "mpmath", "coloredlogs", "humanfriendly",
    }

    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in self.allowed and root not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, OnlyWhatIsDeployed())
"""

DEPLOYED = """
from classifier_training import evaluate, predict

model, photos, image = sys.argv[1:]
print(json.dumps({
    "label": predict(model, [image])[0].label,
    "run": evaluate(model).scores.top1,
    "photos": evaluate(model, photos + "/", split=None, output="bare").scores.num_images,
}))
"""


def python(code: str, *words: str | Path, folder: Path) -> Finished:
    """Runs a script where start-up hooks of installed packages, which may import anything, are left out."""
    path = [str(SOURCE), *(entry for entry in sys.path if "site-packages" in entry)]
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {path!r}\n{code}", *map(str, words)],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "FORCE_COLOR"},
        capture_output=True,
        text=True,
        check=False,
    )
    return Finished(ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["config", "options"], 0),
        (["config", "show", "model=resnet50"], 0),
        (["train", "shapes", "data.batchsize=3"], 2),
        (["train", "missing"], 2),
        (["train", "--resume", "runs/first", "optimizer.lr=fast"], 2),
        (["export", "runs/first", "export.exporter=both"], 2),
        (["export", "missing"], 2),
        (["report", "missing"], 2),
        (["report", "--help"], 0),
        (["compare", "runs/first"], 2),
        (["demo", "optimizer.lr=fast"], 2),
    ],
)
def test_neither_help_nor_a_mistake_imports_anything_heavy(trained: Trained, words: list[str], code: int) -> None:
    finished = python(COMMAND, *words, folder=trained.photos.parent)

    assert finished.code == code, finished
    assert finished.err.splitlines()[-1] == "IMPORTED"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["predict", "runs/first", "shapes"], 0),
        (["evaluate", "runs/first/export/model.onnx"], 0),
        (["predict", "missing.onnx", "shapes"], 2),
        (["evaluate", "missing.ckpt"], 2),
        (["evaluate", "runs/first", "optimizer.lr=fast"], 2),
    ],
)
def test_the_exported_model_is_used_without_torch(trained: Trained, words: list[str], code: int) -> None:
    finished = python(COMMAND, *words, folder=trained.photos.parent)

    assert finished.code == code, finished
    assert finished.err.splitlines()[-1] == "IMPORTED numpy"


def test_the_python_functions_work_where_nothing_else_is_installed(trained: Trained) -> None:
    image = next(trained.photos.rglob("*.png"))

    finished = python(BARE + DEPLOYED, trained.run.onnx, trained.photos, image, folder=trained.photos.parent)

    assert finished.code == 0, finished
    results = json.loads(trained.run.results.read_text(encoding="utf-8"))
    assert finished.json["run"] == results["test"]["top1"]
    assert finished.json["photos"] == results["test"]["num_images"]
    written = read_scores(ScoredFolder(trained.photos.parent / "bare"))
    assert to_json(written.intervals) == results["test"]["intervals"]
    assert finished.json["label"] in {"blue", "green", "red"}


def test_the_bare_python_really_is_bare(tmp_path: Path) -> None:
    finished = python(BARE + "import torch", folder=tmp_path)

    assert "No module named 'torch'" in finished.err
