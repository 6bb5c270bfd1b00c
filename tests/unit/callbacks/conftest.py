"""Photos that can be learned, and a run on them that nothing has interrupted; tests must change neither."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.training import fit_photos, make_learnable_photos


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_learnable_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory, photos: Path) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    fit_photos(folder, photos)
    return folder
