"""One trained run that all of these tests look at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.helpers.cli import LOOKED_AT, TINY, Trained, WarmProgram, make_shapes

from classifier_training.run.folder import RunFolder

if os.name == "nt":
    collect_ignore_glob = ["test_*.py"]  # they fork, and send the signals of a terminal


@pytest.fixture(scope="session")
def photos(program: WarmProgram) -> Path:
    return make_shapes(program.folder / "shapes")


@pytest.fixture(scope="session")
def trained(program: WarmProgram, photos: Path) -> Trained:
    """Two epochs in ``runs/first``; tests read it and must not change it."""
    finished = program(
        "train",
        "shapes",
        *TINY,
        *LOOKED_AT,
        "data.test_fraction=0.3",
        "trainer.max_epochs=2",
        "optimizer.lr=3e-4",
        "run.name=first",
    )
    assert finished.code == 0, finished
    return Trained(RunFolder(program.folder / "runs" / "first"), photos, finished)
