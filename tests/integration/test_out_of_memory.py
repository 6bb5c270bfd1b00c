"""Memory that runs out while a command runs: one line that says what to lower, and nothing damaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from tests.helpers.cli import TINY, Trained, WarmProgram

from classifier_training.run.folder import RunFolder

# the allocations are real, larger than any machine has
_FORWARD = """
import torch
from classifier_training.models.base import BaseClassificationModel

BaseClassificationModel.forward = lambda model, images: torch.empty(2**50)
"""
_BACKBONE = """
import torch
from torch import nn

nn.BatchNorm2d.reset_running_stats = lambda norm: torch.empty(2**50)
"""
_ONNX = """
import numpy
from classifier_training.inference.classifier import OnnxClassifier

OnnxClassifier.run = lambda classifier, images, outputs: numpy.empty(2**50)
"""
_SCRIPT = """
import sys
{patch}
from classifier_training.cli import main

main(sys.argv[1:])
"""


def contents(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "evaluations" not in path.parts}


@pytest.mark.parametrize(
    ("patch", "words", "line"),
    [
        (
            _FORWARD,
            ("train", "{photos}", *TINY, "run.dir={folder}/new", "data.batch_size=4", "model.freeze_norm_stats=true"),
            "out of memory while training (it tried to allocate 4503599627370496 bytes); lower data.image_size (now",
        ),
        (
            _BACKBONE,
            ("train", "{photos}", *TINY, "run.dir={folder}/new"),
            "out of memory while building test_byobnet (it tried to allocate 4503599627370496 bytes); choose a smaller",
        ),
        (_FORWARD, ("evaluate", "{run}"), "out of memory while scoring {run}/checkpoints/best.ckpt"),
        (_FORWARD, ("evaluate", "{run}", "data.batch_size=3"), "; lower data.batch_size (now 3)"),
        (_ONNX, ("evaluate", "{run}/export/model.onnx"), "out of memory while scoring {run}/export/model.onnx"),
        (
            _ONNX,
            ("evaluate", "{run}", "--not-worse-than", "{run}/export/model.onnx"),
            "scoring {run}/export/model.onnx",
        ),
        (_BACKBONE, ("evaluate", "{run}"), "out of memory while loading {run}/checkpoints/best.ckpt"),
        (_FORWARD, ("export", "{run}"), "out of memory while scoring validation images of {run} "),
        (_ONNX, ("predict", "{run}", "{photos}"), "out of memory while predicting with {run}/export/model.onnx"),
    ],
)
def test_one_line_says_what_to_lower(
    program: WarmProgram, trained: Trained, tmp_path: Path, patch: str, words: tuple[str, ...], line: str
) -> None:
    run = RunFolder(shutil.copytree(trained.run.root, tmp_path / "run"))
    before = contents(run.root)
    places = {"run": run.root, "photos": trained.photos, "folder": tmp_path}

    finished = program.python(_SCRIPT.format(patch=patch), *(word.format(**places) for word in words))

    assert finished.code == 2, finished
    (error,) = [text for text in finished.err.splitlines() if text.startswith("error: ")]
    assert line.format(**places) in error
    assert "Traceback" not in finished.err
    assert contents(run.root) == before
