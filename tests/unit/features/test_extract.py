from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.helpers.photos import make_photo
from torch import Tensor, nn

from classifier_training.config.schema import DataConfig
from classifier_training.data.index.check import inspect_records
from classifier_training.errors import OutOfMemoryError
from classifier_training.features.extract import Extraction, extract
from classifier_training.features.views import AugmentedView, CentreView, View
from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.head_features import backbone_features, linear_classifier
from classifier_training.types import ImageRecord

NUM_IMAGES = 7
Extract = Callable[..., NDArray[np.float32]]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[ImageRecord]:
    folder = tmp_path_factory.mktemp("photos")
    return [ImageRecord(str(make_photo(folder / f"{seed}.jpg", seed, (40, 36)))) for seed in range(NUM_IMAGES)]


@pytest.fixture(scope="module")
def model() -> BaseClassificationModel:
    torch.manual_seed(0)
    return BaseClassificationModel("resnet10t", ["a", "b"], image_size=32)


@pytest.fixture
def of(records: list[ImageRecord], model: BaseClassificationModel) -> Extract:
    """Extracts the features of some of the images."""
    digests = inspect_records(records).digests

    def extract_some(at: list[int], view: View | None = None, **how: object) -> NDArray[np.float32]:
        options = Extraction(**{"num_workers": 0, "batch_size": 4, **how})  # type: ignore[arg-type]  # of the test
        some = [records[one] for one in at]
        return extract(model, some, digests[at], view=view or CentreView(model.preprocessing), how=options)

    return extract_some


def augmented(model: BaseClassificationModel, number: int = 0, **settings: object) -> AugmentedView:
    return AugmentedView(number, 3, model.preprocessing, DataConfig.model_validate(settings))


def test_the_head_on_features_gives_the_logits(
    of: Extract, model: BaseClassificationModel, records: list[ImageRecord]
) -> None:
    found = of(list(range(NUM_IMAGES)))
    assert found.dtype == np.float32
    images = np.stack([preprocess(decode_image(record), model.preprocessing) for record in records])
    assert model.training
    model.eval()
    with torch.inference_mode():
        logits = model(torch.from_numpy(images))
        from_features = linear_classifier(model.backbone, 32)(torch.from_numpy(found))
    model.train()
    torch.testing.assert_close(from_features, logits, rtol=1e-4, atol=1e-5)


def test_features_depend_on_the_image_alone(of: Extract) -> None:
    everything = of(list(range(NUM_IMAGES)))
    for at in ([5], [6, 0, 3], [4, 4, 1]):
        np.testing.assert_array_equal(of(at), everything[at])


def test_what_was_computed_is_kept_and_only_the_rest_is_computed(of: Extract, tmp_path: Path) -> None:
    seen: list[int] = []
    everything = of(list(range(NUM_IMAGES)))
    first = of([2, 4, 5], cache=tmp_path)
    again = of(list(range(NUM_IMAGES)), cache=tmp_path, progress=lambda done, _: seen.append(done))
    assert seen == [3, 7]
    np.testing.assert_array_equal(again, everything)
    np.testing.assert_array_equal(first, everything[[2, 4, 5]])
    assert not of([2, 4, 5], cache=tmp_path).flags.owndata  # memory of the file, in the order of the first time
    np.testing.assert_array_equal(of([6, 2], cache=tmp_path), everything[[6, 2]])


def test_other_weights_have_features_of_their_own_and_another_head_has_not(
    of: Extract, model: BaseClassificationModel, tmp_path: Path
) -> None:
    of([0, 1], cache=tmp_path)
    head = linear_classifier(model.backbone, 32)
    before = head.weight.detach().clone()
    seen: list[int] = []
    with torch.no_grad():
        head.weight.add_(1)
        of([0, 1], cache=tmp_path, progress=lambda done, _: seen.append(done))
        assert not seen
        parameter = next(model.backbone.parameters())
        parameter.mul_(2)
        of([0, 1], cache=tmp_path, progress=lambda done, _: seen.append(done))
        parameter.div_(2)
        head.weight.copy_(before)
    assert seen == [0, 2]


def test_an_augmented_view_follows_from_the_seed_and_the_content(of: Extract, model: BaseClassificationModel) -> None:
    everything = of(list(range(NUM_IMAGES)), augmented(model))
    np.testing.assert_array_equal(of([5, 1], augmented(model)), everything[[5, 1]])
    others = [of([5, 1]), of([5, 1], augmented(model, 1)), of([5, 1], augmented(model, hflip=1.0))]
    assert all((other != everything[[5, 1]]).any() for other in others)


def test_each_view_has_a_table_of_its_own(of: Extract, model: BaseClassificationModel, tmp_path: Path) -> None:
    for view in (None, augmented(model), augmented(model, 1), augmented(model, hflip=1.0), augmented(model)):
        of([0], view, cache=tmp_path)
    assert len(list((tmp_path / "features").iterdir())) == 4


def test_a_stop_keeps_what_was_computed(of: Extract, tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        of(list(range(NUM_IMAGES)), cache=tmp_path, check_stop=stop)
    seen: list[int] = []
    of(list(range(NUM_IMAGES)), cache=tmp_path, progress=lambda done, _: seen.append(done))
    assert seen[0] == 4


def test_a_cache_that_cannot_be_written_is_a_warning(of: Extract, tmp_path: Path) -> None:
    (tmp_path / "features").write_text("a file")
    with pytest.warns(UserWarning, match="features are not kept in .*, so other runs compute them again"):
        found = of([0, 1], cache=tmp_path)
    np.testing.assert_array_equal(found, of([0, 1]))


def test_where_memory_runs_out_smaller_batches_give_the_features_and_are_kept_as_such(
    of: Extract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = list(range(NUM_IMAGES))
    expected = of(at, batch_size=2)

    def compute(backbone: nn.Module, images: Tensor) -> Tensor:
        if len(images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return backbone_features(backbone, images)

    monkeypatch.setattr("classifier_training.features.extract.backbone_features", compute)
    with pytest.warns(UserWarning, match="features of 4 images at once: starting over with 2 at once"):
        np.testing.assert_array_equal(of(at, cache=tmp_path), expected)
    monkeypatch.undo()
    np.testing.assert_array_equal(of(at, cache=tmp_path, batch_size=2), expected)


def test_memory_that_runs_out_is_one_line(of: Extract, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("classifier_training.features.extract.backbone_features", refuse)
    with (
        pytest.raises(OutOfMemoryError, match=r"computing features on the cpu; lower data.image_size \(now \d+\)"),
        pytest.warns(UserWarning, match="images at once: starting over with [12] at once"),
    ):
        of([0])
