"""What is deployed needs numpy, Pillow and onnxruntime only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.images import make_image
from tests.helpers.onnx_models import make_onnx

from classifier_training.inference.card import DeploymentCard
from classifier_training.types import Preprocessing

SOURCE = Path(__file__).parents[3] / "src"

PREDICT = """
from classifier_training.inference.classifier import OnnxClassifier
from classifier_training.inference.listing import find_images
from classifier_training.inference.predict import predict
from classifier_training.metrics.accumulator import ScoringPass

classifier, images = OnnxClassifier(sys.argv[1]), find_images([sys.argv[2]])
(prediction,) = predict(sys.argv[1], images)
scoring = ScoringPass(len(classifier.classes))
for positions, logits in classifier.logits_of_files(images):
    scoring.update(logits, logits.argmax(axis=1))
print(prediction.label, scoring.result()[0].top1)
"""

HEAVY = """
heavy = {"torch", "torchvision", "lightning", "timm", "pydantic", "rich", "typer", "pyarrow"}
loaded = heavy & set(sys.modules)
if loaded:
    sys.exit(f"imported {loaded}")
"""

# What `pip install numpy pillow onnxruntime` brings, and the standard library, and nothing else.
BARE = """
import sys

class OnlyWhatIsDeployed:
    allowed = {
        "numpy", "PIL", "onnxruntime", "classifier_training",
        "flatbuffers", "google", "packaging", "sympy", "mpmath", "coloredlogs", "humanfriendly",
    }

    def find_spec(self, name, path=None, target=None):
        root = name.partition(".")[0]
        if root not in self.allowed and root not in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None

sys.meta_path.insert(0, OnlyWhatIsDeployed())
"""


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    metadata = DeploymentCard(("red", "green", "blue"), Preprocessing(image_size=16)).to_metadata()
    model = make_onnx(tmp_path / "model.onnx", metadata=metadata)
    make_image(tmp_path / "photos" / "a.jpg")
    return [str(model), str(tmp_path / "photos")]


def run(code: str, files: list[str]) -> str:
    path = [str(SOURCE), *(entry for entry in sys.path if "site-packages" in entry)]
    # -I and the explicit path keep start-up hooks of installed packages out of the process.
    start = f"import sys; sys.path[:0] = {path!r}\n"
    finished = subprocess.run(
        [sys.executable, "-I", "-S", "-c", start + code, *files], capture_output=True, text=True, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stderr == ""
    return finished.stdout


def test_predicting_imports_nothing_heavy(files: list[str]) -> None:
    assert run("import sys\n" + PREDICT + HEAVY, files).split()[1] == "1.0"


def test_predicting_works_where_nothing_else_is_installed(files: list[str]) -> None:
    assert run(BARE + PREDICT, files).split()[0] in {"red", "green", "blue"}


def test_the_bare_environment_really_is_bare(files: list[str]) -> None:
    code = BARE + "try:\n    import torch\nexcept ModuleNotFoundError:\n    print('refused')\n"

    assert run(code, files) == "refused\n"
