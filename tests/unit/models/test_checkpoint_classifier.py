"""A checkpoint predicts like the model in it, and like the exported file of its run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tests.helpers.images import make_image, make_pixels

from classifier_training.imaging.preprocess import preprocess
from classifier_training.inference.classifier import softmax
from classifier_training.inference.session import FEATURES
from classifier_training.models import BaseClassificationModel
from classifier_training.models.checkpoint import write_checkpoint
from classifier_training.models.checkpoint_classifier import CheckpointClassifier
from classifier_training.models.head_features import backbone_features


def test_it_predicts_like_the_model_and_gives_its_features(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = BaseClassificationModel("test_resnet", ["a", "b", "c"], image_size=32).eval()
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams), "epoch": 0, "global_step": 0}
    write_checkpoint(content | {"temperature": 2.0}, tmp_path / "a.ckpt")
    photos = [make_image(tmp_path / f"{seed}.png", make_pixels(40, 30, seed)) for seed in range(3)]
    inputs = np.stack([preprocess(make_pixels(40, 30, seed), model.preprocessing) for seed in range(3)])

    classifier = CheckpointClassifier(tmp_path / "a.ckpt")
    outcomes = [one for batch in classifier.outcomes(photos, 2, further=(FEATURES,)) for one in batch]

    with torch.inference_mode():
        logits = model(torch.from_numpy(inputs)).numpy()
        features = backbone_features(model.backbone, torch.from_numpy(inputs)).numpy()
    assert classifier.classes == ("a", "b", "c")
    assert classifier.further_outputs == {FEATURES: features.shape[1]}
    predictions = [one.prediction for one in outcomes if one.prediction is not None]
    np.testing.assert_allclose([one.probabilities for one in predictions], softmax(logits / 2), atol=1e-5)
    np.testing.assert_allclose(np.stack([one.further[FEATURES] for one in outcomes]), features, atol=1e-4)
    assert classifier.predict(photos, 2) == predictions
