"""The programs that `benchmarks.time_to_accuracy` is measured against, each as its own documentation fine-tunes.

Each writes ``scores.csv``, a row with validation top-1 for each epoch, and ``test.txt`` with test top-1.
Run: python benchmarks/time_to_accuracy_peers.py NAME PHOTOS WEIGHTS SEED OUT [TIMM_TRAIN_PY]
"""

from __future__ import annotations

import contextlib
import csv
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch

NAME: Final = "tf_efficientnet_lite0"
EPOCHS: Final = 12
"""Of the scripts that want a number of epochs; fastai's ``fine_tune(6)`` is seven."""


class Scores:
    """``scores.csv``, to which rows are added as they come."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "scores.csv"
        self.path.write_text("val\n", encoding="utf-8")

    def add(self, top1: float) -> None:
        """Adds the validation score of an epoch."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(f"{top1:.6f}\n")


def fastai(photos: Path, weights: Path, seed: int, folder: Path) -> float:
    """``vision_learner`` and ``fine_tune(6)``; test top-1."""
    from fastai.vision import all as fast

    fast.set_seed(seed)
    loaders = fast.ImageDataLoaders.from_folder(
        photos, train="train", valid="val", item_tfms=fast.Resize(256), bs=32, num_workers=2,
        batch_tfms=fast.aug_transforms(size=224, min_scale=0.75), device=torch.device("cpu"),
    )  # fmt: skip
    scores = Scores(folder)

    class Note(fast.Callback):  # type: ignore[misc]  # fastai has no types
        order = 60  # after its recorder

        def after_epoch(self) -> None:
            scores.add(float(self.learn.recorder.values[-1][-1]))

    note = Note()
    learner = fast.vision_learner(
        loaders, NAME, metrics=fast.accuracy, cbs=note, path=folder, pretrained_cfg_overlay={"file": str(weights)}
    )
    with learner.no_bar():
        learner.fine_tune(6)
    learner.remove_cb(note)  # which would note the test, too
    test = loaders.test_dl(fast.get_image_files(photos / "test"), with_labels=True)
    return float(learner.validate(dl=test)[1])


def timm(photos: Path, weights: Path, seed: int, folder: Path, script: Path) -> float:
    """Runs timm's ``train.py`` with AdamW and its averaged weights; test top-1 of the best epoch."""
    import timm as library

    words = [
        "--data-dir", photos, "--train-split", "train", "--val-split", "val", "--num-classes", num_classes(photos),
        "--model", NAME, "--pretrained", "--pretrained-path", weights, "--epochs", EPOCHS, "--warmup-epochs", 1,
        "--opt", "adamw", "--lr", 5e-4, "--weight-decay", 0.05, "--batch-size", 32, "--workers", 2, "--seed", seed,
        "--device", "cpu", "--smoothing", 0.1, "--output", folder, "--experiment", "run",
    ]  # fmt: skip
    scores, summary = Scores(folder), folder / "run" / "summary.csv"
    with subprocess.Popen([sys.executable, str(script), *map(str, words)]) as process:
        seen = 0
        while process.poll() is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.5)
            values = column(summary, "eval_top1")
            for value in values[seen:]:
                scores.add(value / 100)
            seen = len(values)
    model = library.create_model(NAME, num_classes=num_classes(photos))
    library.models.load_checkpoint(model, str(folder / "run" / "model_best.pth.tar"), weights_only=False)
    return timm_top1(model, photos / "test")


def timm_top1(model: torch.nn.Module, photos: Path) -> float:
    """Top-1 of a timm model with timm's own evaluation preprocessing."""
    from timm.data.config import resolve_model_data_config
    from timm.data.dataset_factory import create_dataset
    from timm.data.loader import create_loader

    config = cast("Any", resolve_model_data_config)(model)
    images = create_dataset("", str(photos))
    loader: Any = create_loader(images, config["input_size"], 32, use_prefetcher=False, device=torch.device("cpu"), **{
        name: config[name] for name in ("interpolation", "mean", "std", "crop_pct")
    })  # fmt: skip
    model.eval()
    with torch.inference_mode():
        hits = [(model(pictures).argmax(1) == labels).float() for pictures, labels in loader]
    return float(torch.cat(hits).mean())


def ultralytics(photos: Path, weights: Path, seed: int, folder: Path) -> float:  # noqa: ARG001 - it cannot take them
    """``classify train`` of the smallest YOLO classifier; from scratch, as its weights are only to be downloaded."""
    from ultralytics import YOLO

    photos = Path(shutil.copytree(photos, folder / "photos"))  # it writes among them
    scores, model = Scores(folder), YOLO("yolo11n-cls.yaml")
    model.add_callback("on_fit_epoch_end", lambda trainer: scores.add(float(trainer.metrics["metrics/accuracy_top1"])))
    model.train(
        data=str(photos), epochs=EPOCHS, imgsz=224, batch=32, workers=2, device="cpu", seed=seed, plots=False,
        project=str(folder), name="run",
    )  # fmt: skip
    return float(model.val(split="test", device="cpu", workers=0, plots=False).top1)


def autogluon(photos: Path, weights: Path, seed: int, folder: Path) -> float:
    """``MultiModalPredictor`` with the same backbone and eight minutes; test top-1."""
    import json

    import pandas as pd
    import timm
    from autogluon.multimodal import MultiModalPredictor
    from safetensors.torch import load_file

    backbone = folder / "backbone"
    backbone.mkdir()
    body = {name: value for name, value in load_file(weights).items() if not name.startswith("classifier.")}
    torch.save(body, backbone / "pytorch_model.bin")
    model = timm.create_model(NAME)
    about = {"architecture": NAME, "num_features": model.num_features, "pretrained_cfg": model.pretrained_cfg}
    (backbone / "config.json").write_text(json.dumps(about), encoding="utf-8")
    train, val, test = (
        pd.DataFrame([(str(path), path.parent.name) for path in sorted((photos / split).rglob("*.jpg"))],
                         columns=["image", "label"])
        for split in ("train", "val", "test")
    )  # fmt: skip
    predictor = MultiModalPredictor(label="label", path=str(folder / "run"), eval_metric="accuracy")
    settings = {"model.names": ["timm_image"], "model.timm_image.checkpoint_name": str(backbone)}
    predictor.fit(train, tuning_data=val, time_limit=480, seed=seed, hyperparameters=settings)
    Scores(folder).add(float(predictor.evaluate(val)["accuracy"]))
    return float(predictor.evaluate(test)["accuracy"])


def num_classes(photos: Path) -> int:
    """Number of class folders."""
    return sum(path.is_dir() for path in (photos / "train").iterdir())


def column(path: Path, name: str) -> list[float]:
    """A column of a CSV file that may still be written."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row.get(name)]


def main() -> None:
    """Trains one peer, and writes its test score."""
    name, photos, weights, seed, out, *more = sys.argv[1:]
    os.environ["YOLO_OFFLINE"] = "true"
    random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 - the peers use numpy's global generator
    torch.manual_seed(int(seed))
    run: Any = {"fastai": fastai, "timm": timm, "ultralytics": ultralytics, "autogluon": autogluon}[name]
    test = run(Path(photos), Path(weights), int(seed), Path(out), *map(Path, more))
    (Path(out) / "test.txt").write_text(str(test), encoding="utf-8")


if __name__ == "__main__":
    main()
