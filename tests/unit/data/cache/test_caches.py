from __future__ import annotations

from pathlib import Path

import PIL
import pytest
from PIL import features
from tests.helpers.photos import make_split_photos

from classifier_training.config.schema import DataConfig
from classifier_training.data.cache.caches import open_caches
from classifier_training.data.photos import load_photos
from classifier_training.types import Preprocessing


def test_a_cache_is_named_by_the_decoders_and_the_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another version of one may give other pixels, and the nearest pixel is not a mean."""
    config = DataConfig(
        root=str(make_split_photos(tmp_path / "photos", 2, 1, 0)), cache="disk", cache_dir=str(tmp_path)
    )
    photos = load_photos(config, 0)

    def names(preprocessing: Preprocessing) -> set[str]:
        caches = open_caches(photos, config, preprocessing)
        caches.close()
        return {choice.cache.folder.name for choice in caches.choices if choice.cache is not None}

    first = names(Preprocessing())
    assert len(first) == 2
    assert names(Preprocessing()) == first
    assert names(Preprocessing(interpolation="nearest")).isdisjoint(first)
    monkeypatch.setattr(PIL, "__version__", "99.0")
    assert names(Preprocessing()).isdisjoint(first)
    monkeypatch.undo()
    version = features.version
    monkeypatch.setattr(features, "version", lambda name: "9.9" if name == "libjpeg_turbo" else version(name))
    assert names(Preprocessing()).isdisjoint(first)
