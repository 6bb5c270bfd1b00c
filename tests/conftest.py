from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from classifier_training.data.cache.folder import CACHE_VARIABLE

if TYPE_CHECKING:
    from tests.helpers.cli import WarmProgram

# Keeps the user's cache folder out of the tests, and the tests out of it: before any module copies the environment.
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the hub of pretrained weights, but those that serve one
_cache = tempfile.TemporaryDirectory(prefix="classifier-training-tests-")
os.environ[CACHE_VARIABLE] = _cache.name


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmProgram]:
    """The program with its imports done; nothing else is in its folder but what tests put there."""
    if os.name == "nt":
        pytest.skip("it forks")
    from tests.helpers.cli import WarmProgram  # here, as it copies the environment

    warm = WarmProgram(tmp_path_factory.mktemp("cli"))
    yield warm
    warm.close()


@pytest.fixture(scope="module", autouse=True)
def _few_image_caches() -> Iterator[None]:
    """Whoever opens an image cache looks at all the others: those of earlier tests would take time in each run."""
    yield
    shutil.rmtree(Path(_cache.name) / "pictures", ignore_errors=True)
