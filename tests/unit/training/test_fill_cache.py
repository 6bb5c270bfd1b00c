from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.helpers.photos import make_photos

from classifier_training.data import ImageFolderDataModule
from classifier_training.errors import ConfigError, DataError
from classifier_training.models.backbone import backbone_preprocessing
from classifier_training.training.fill_cache import prepare_cache

SETTINGS = ["model.name=test_resnet", "data.image_size=32"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(
        tmp_path / "photos", {"train/a": 4, "train/b": 5, "val/a": 2, "val/b": 1, "test/a": 3, "test/b": 1}
    )


def test_a_training_finds_every_picture(photos: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []

    prepared = prepare_cache(
        photos, SETTINGS, to=tmp_path / "cache", storing=lambda done, total: calls.append((done, total))
    )

    assert (prepared.num_made, prepared.num_stored, prepared.num_images) == (12, 12, 12)
    assert prepared.warnings == ()
    assert calls[-1] == (3, 3)
    data = ImageFolderDataModule(
        photos, preprocessing=backbone_preprocessing("test_resnet", 32), num_workers=0, cache_dir=str(prepared.folder)
    )
    data.setup("fit")
    assert [choice.message.endswith("(already filled)") for choice in data.caches.choices] == [True, True]


def test_what_it_stores_is_what_a_training_would_have_read(photos: Path, tmp_path: Path) -> None:
    prepare_cache(photos, SETTINGS, to=tmp_path / "cache")

    def batches(cache: str) -> list[torch.Tensor]:
        data = ImageFolderDataModule(
            photos,
            preprocessing=backbone_preprocessing("test_resnet", 32),
            batch_size=3,
            num_workers=0,
            cache=cache,
            cache_dir=str(tmp_path / "cache"),
        )
        data.setup("fit")
        return [batch["images"] for loader in (data.train_dataloader(), data.val_dataloader()) for batch in loader]

    assert all(map(torch.equal, batches("disk"), batches("none")))


def test_called_again_it_goes_on(photos: Path, tmp_path: Path) -> None:
    prepare_cache(photos, SETTINGS, to=tmp_path / "cache")

    again = prepare_cache(photos, SETTINGS, to=tmp_path / "cache")

    assert (again.num_made, again.num_stored) == (0, 12)


def test_bad_settings_and_places(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"data\.batch_size=x"):
        prepare_cache(photos, "data.batch_size=x", to=tmp_path / "cache")
    (tmp_path / "file").write_text("")
    with (
        pytest.warns(UserWarning, match="cannot be written"),
        pytest.raises(DataError, match=r"^nothing can be kept: .*file/pictures cannot be written"),
    ):
        prepare_cache(photos, SETTINGS, to=tmp_path / "file")
    with pytest.raises(DataError, match=r"0 B allowed \(data\.cache_limit\)|allowed"):
        prepare_cache(photos, SETTINGS, "data.cache_limit=1B", to=tmp_path / "cache")
