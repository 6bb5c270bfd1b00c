"""A file that begins with pixels is served, too: images of several sizes, in batches of one size."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx
import numpy as np
from tests.helpers.images import jpeg_bytes, make_pixels
from tests.helpers.serving import HeldModel, talk
from tests.helpers.torch_models import make_batch, make_network

from classifier_training.exporters.end_to_end import export_end_to_end
from classifier_training.exporters.forms import ExportSettings
from classifier_training.inference.card import DeploymentCard
from classifier_training.inference.classifier import Classifier
from classifier_training.types import Preprocessing


def test_images_of_several_sizes_are_answered_as_by_predict(tmp_path: Path) -> None:
    card = DeploymentCard(("a", "b", "c", "d"), Preprocessing(image_size=16))
    path = tmp_path / "model_e2e.onnx"
    export_end_to_end(make_network(), path, make_batch(2, 16), ExportSettings(), card.to_metadata())
    contents = [jpeg_bytes(make_pixels(20 + 8 * (seed % 3), 24, seed)) for seed in range(12)]
    held = HeldModel(path)

    async def conversation(client: httpx.AsyncClient) -> list[httpx.Response]:
        held.batches.clear()
        posts = [asyncio.create_task(client.post("/predict", content=content)) for content in contents]
        await asyncio.to_thread(held.has_begun.wait)
        held.may_end.set()
        return list(await asyncio.gather(*posts))

    answers = [answer.json() for answer in talk(held, conversation)]

    assert sum(held.batches) == 12
    assert max(held.batches) > 1
    for answer, expected in zip(answers, Classifier(path).predict_images(contents), strict=True):
        assert answer["label"] == expected.label
        assert np.abs(np.subtract(list(answer["probabilities"].values()), expected.probabilities)).max() <= 1e-6
