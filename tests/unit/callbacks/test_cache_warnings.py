from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.photos import make_split_photos
from tests.helpers.training import LIGHTNING_NOTICES, make_model, make_trainer

from classifier_training.callbacks import CacheWarnings
from classifier_training.data import ImageFolderDataModule

pytestmark = LIGHTNING_NOTICES


def make_data(tmp_path: Path) -> ImageFolderDataModule:
    root = make_split_photos(tmp_path / "photos", 8, 2, 0)
    return ImageFolderDataModule(
        root, image_size=32, batch_size=4, num_workers=0, cache="disk", cache_dir=str(tmp_path / "cache")
    )


def fit(tmp_path: Path, data: ImageFolderDataModule) -> None:
    trainer = make_trainer(tmp_path, CacheWarnings(), max_epochs=1)
    trainer.fit(make_model(classes=2), datamodule=data)


def test_damaged_images_are_reported_and_decoded_again(tmp_path: Path) -> None:
    fit(tmp_path, make_data(tmp_path))
    for pixels in (tmp_path / "cache").rglob("pixels.bin"):
        content = bytearray(pixels.read_bytes())
        content[100] ^= 255
        pixels.write_bytes(content)

    with pytest.warns(UserWarning, match=r"1 stored image\(s\) were damaged, and are stored again") as told:
        fit(tmp_path, make_data(tmp_path))

    assert len([one for one in told if "damaged" in str(one.message)]) == 2  # of training and of validation


def test_without_trouble_and_without_caches_there_is_no_warning(tmp_path: Path) -> None:
    data = make_data(tmp_path)
    fit(tmp_path, data)  # a warning would be an error
    data.setup("fit")
    trainer = make_trainer(tmp_path, CacheWarnings(), max_epochs=1)
    trainer.fit(make_model(classes=2), data.train_dataloader(), data.val_dataloader())
