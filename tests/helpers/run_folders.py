"""Makes whole run folders without training: every file that a page is made from, for any number of classes."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tests.helpers.confusion import confusion_and_top5
from tests.helpers.images import make_pixels
from tests.helpers.scored import make_pass

from classifier_training.files.atomic import write_json, write_text
from classifier_training.metrics.scores import (
    Predictions,
    Scores,
    predictions_from_logits,
    scores_from_confusion,
)
from classifier_training.results.folder import write_scored
from classifier_training.run.epoch_table import EpochTable
from classifier_training.run.folder import RunFolder, ScoredFolder

HOSTILE_NAMES = (
    "<script>window.hacked=1</script>",
    "../..",
    "x" * 300,
    "\u202eright to left שלום",
    "🐈‍⬛",
    "two\nlines",
    r"$\frac{1}{2}$",
    "\"quoted\", 'twice' & <b>bold</b>",
    "</script><img src=x onerror=window.hacked=1>",
    "{{ 7 * 7 }}{% raw %}",
    "__proto__",
    "javascript:window.hacked=1",
)
"""Class names that a page must show as text."""

HOSTILE_FILES = (
    "/photos/<img src=x onerror=window.hacked=1>.jpg",
    "/photos/\udcff\udcfe.jpg",
    '/photos/a,b "c"\n.jpg',
    "/photos/../../etc/passwd",
)
"""File names, one of them not UTF-8."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a made-up model predicts for made-up images.

    Attributes:
        classes: K names.
        predictions: Of N images.
        scores: The scores.
        files: N names.
    """

    classes: tuple[str, ...]
    predictions: Predictions
    scores: Scores
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RunMaker:
    """Makes run folders.

    Attributes:
        classes: K names; or their number, and they are called ``class 0`` …
        num_images: Images in the test split, and in the validation split.
        num_epochs: Epochs that are done.
        skill: How much higher the logit of the true class is.
        num_pictures: Images that are shown.
        absent: Indices of classes without a test or validation image.
        is_finished: Whether the run has come to its end.
        has_test: Whether there is a test split.
        files: Names of the first images.
        seed: Of everything random.
        settings: That differ from the defaults, by dotted key.
    """

    classes: int | Sequence[str] = 3
    num_images: int = 60
    num_epochs: int = 3
    skill: float = 2.0
    num_pictures: int = 12
    absent: Collection[int] = ()
    is_finished: bool = True
    has_test: bool = True
    files: Sequence[str] = ()
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The class names."""
        if isinstance(self.classes, int):
            return tuple(f"class {index}" for index in range(self.classes))
        return tuple(self.classes)

    def make(self, root: Path) -> RunFolder:
        """Writes a run folder.

        Args:
            root: The folder.
        """
        run = RunFolder(root)
        write_text(run.config, self._config())
        self._write_epochs(run)
        self._write_data(run)
        write_json(run.model_info, _MODEL_INFO)
        write_json(run.environment, {**_ENVIRONMENT, "seed": self.seed})
        validation = self.score("val")
        self.write_scored(run.scored("val"), validation, "val", model="model in training")
        for name in ("history", "sampler_distribution", "images_per_class", "image_sizes", "train_batch"):
            _write_bytes(run.plots / f"{name}.png", _image("PNG"))
        if self.is_finished:
            self._finish(run, validation)
        return run

    def make_evaluation(self, root: Path, *, description: str = "/photos/new") -> ScoredFolder:
        """Writes the folder of an evaluation.

        Args:
            root: The folder.
            description: What was scored.
        """
        folder = ScoredFolder(root)
        self.write_scored(folder, self.score("test"), None, model="model.onnx", description=description)
        return folder

    def score(self, split: str) -> Scored:
        """Makes up the predictions of a split."""
        names = self.names
        generator = np.random.default_rng([self.seed, len(split)])
        present = np.array([index for index in range(len(names)) if index not in self.absent])
        labels = np.sort(present[np.arange(self.num_images) % len(present)])
        easiness = np.random.default_rng([7, len(split)]).normal(0, 1, self.num_images)  # the same for every seed
        logits = generator.normal(0, 1, (self.num_images, len(names)))
        logits[np.arange(self.num_images), labels] += self.skill + easiness
        confusion, num_top5 = confusion_and_top5(logits, labels)
        predictions = predictions_from_logits(logits, labels)
        if split == "val" or len(names) > 50:
            columns = (predictions.labels, predictions.predicted, predictions.confidence, predictions.losses)
            predictions = Predictions(*columns)
        made = [f"/photos/{split}/{index:05d}.jpg" for index in range(len(self.files), self.num_images)]
        files = (*self.files, *made)[: self.num_images]
        return Scored(names, predictions, scores_from_confusion(confusion, num_top5), files)

    def write_scored(
        self, folder: ScoredFolder, scored: Scored, split: str | None, *, model: str, description: str = ""
    ) -> None:
        """Writes the files of one pass."""
        scored_pass = make_pass(
            scored.scores,
            scored.predictions,
            scored.classes,
            files=scored.files,
            description=description or f"the {split} split of /photos",
            split=split,
            epoch=None if split is None else self.num_epochs - 1,
            model=model,
        )
        write_scored(folder, scored_pass)
        self._write_examples(folder, scored)

    def _config(self) -> str:
        from classifier_training.config import load_config, to_yaml

        settings = {"data.root": "/photos", "trainer.max_epochs": 3, "seed": self.seed, **self.settings}
        return to_yaml(load_config([f"{key}={value}" for key, value in settings.items()]))

    def _write_epochs(self, run: RunFolder) -> None:
        metrics = EpochTable(run.metrics, ("step", "train/loss", "val/loss", "val/top1", "val/top5"))
        timings = EpochTable(run.timings, ("seconds", "images_per_second"))
        for epoch in range(self.num_epochs):
            score = 1 - 0.6 / (epoch + 1)
            values = {
                "step": 10 * (epoch + 1),
                "train/loss": 2 / (epoch + 1),
                "val/loss": 2.2 / (epoch + 1),
                "val/top1": score,
                "val/top5": (1 + score) / 2,
                "val/balanced_accuracy": score - 0.05,
                "val/macro_f1": score - 0.06,
                "lr": 0.001 / (epoch + 1),
            }
            metrics.write(epoch, {name: repr(value) for name, value in values.items()})
            timings.write(epoch, {"seconds": f"{12 + epoch:.3f}", "images_per_second": f"{250 - epoch:.1f}"})

    def _write_data(self, run: RunFolder) -> None:
        names, num_train = self.names, [40 + 7 * (index % 5) for index in range(len(self.names))]
        split = [0 if index in self.absent else 20 for index in range(len(names))]
        counts = {"train": num_train, "val": split, **({"test": split} if self.has_test else {})}
        spread = {"min": 40, "median": 300.5, "max": 1600}
        histogram = {"edges": [40, 400, 800, 1600], "counts": [50, 7, 3]}
        write_json(
            run.statistics,
            {
                "format": 1,
                "root": "/photos",
                "num_images": sum(map(sum, counts.values())),
                "classes": names,
                "counts": counts,
                "imbalance_ratio": max(num_train) / min(num_train),
                **dict.fromkeys(("width", "height"), spread),
                "aspect_ratio": {"min": 0.5, "median": 1.0, "max": 2.0},
                "histograms": {
                    **dict.fromkeys(("width", "height"), histogram),
                    "aspect_ratio": {"edges": [0.5, 1.0, 2.0], "counts": [20, 40]},
                },
                "modes": {"RGB": 55, "L": 5},
                "bad": [{"file": "/photos/broken.jpg", "reason": "the file is truncated"}],
            },
        )
        rows = [
            (epoch, name, images, images + epoch)
            for epoch in range(self.num_epochs)
            for name, images in zip(names, num_train, strict=True)
        ]
        write_text(run.sampler_distribution, _csv([("epoch", "class", "images", "drawn"), *rows]))

    def _finish(self, run: RunFolder, validation: Scored) -> None:
        scored, split = validation, "val"
        if self.has_test:
            scored, split = self.score("test"), "test"
        self.write_scored(run.scored(split), scored, split, model="checkpoints/best.ckpt")
        _write_bytes(run.best_checkpoint, b"weights")
        _write_bytes(run.onnx, b"onnx" * 1000)
        digest = hashlib.sha256(run.onnx.read_bytes()).hexdigest()
        write_json(run.verification, {**_VERIFICATION, "sha256": digest})
        results = {
            "monitor": "val/top1",
            "best": {"epoch": self.num_epochs - 1, "val/top1": 1 - 0.6 / self.num_epochs},
            split: scored.scores.to_dict(scored.classes),
            "epochs": self.num_epochs,
            "seconds": 61.5,
            "left_out": [],
            "export": {"exporter": "torchscript", "opset_version": 18, "tolerance": 0.001},
        }
        write_json(run.results, results)

    def _write_examples(self, folder: ScoredFolder, scored: Scored) -> None:
        predictions = scored.predictions
        order = np.argsort(-predictions.losses, kind="stable")[: self.num_pictures].tolist()
        examples = []
        for place, index in enumerate(order):
            is_error = bool(predictions.labels[index] != predictions.predicted[index])
            why = ["worst"] * (place < 6 and is_error) + ["least_certain"] * (place % 5 == 4) + ["cell"]
            has_cam = "worst" in why
            examples.append(
                {
                    "index": index,
                    "file": scored.files[index].encode("utf-8", "backslashreplace").decode(),
                    "true": scored.classes[predictions.labels[index]],
                    "predicted": scored.classes[predictions.predicted[index]],
                    "confidence": float(predictions.confidence[index]),
                    "loss": float(predictions.losses[index]),
                    "why": why,
                    "thumbnail": f"pictures/{index}.jpg",
                    "cam": f"pictures/{index}-cam.jpg" if has_cam else None,
                }
            )
            _write_bytes(folder.thumbnails / f"{index}.jpg", _image("JPEG", place))
            if has_cam:
                _write_bytes(folder.thumbnails / f"{index}-cam.jpg", _image("JPEG", 99))
        write_json(folder.images, {"format": 1, "pictures": examples})


def edit_json(path: Path, **changes: Any) -> None:
    """Changes values of a JSON file."""
    values = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(values | changes), encoding="utf-8")


def _image(format_name: str, seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(make_pixels(64, 64, seed)).save(file, format_name)
    return file.getvalue()


def _write_bytes(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _csv(rows: Sequence[Sequence[Any]]) -> str:
    import csv

    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


_MODEL_INFO = {
    "format": 1,
    "model": "resnet18",
    "input": [3, 224, 224],
    "num_parameters": 11_178_051,
    "num_trainable_parameters": 11_178_051,
    "size_bytes": 44_712_204,
    "flops": 3_648_000_000,
    "latency": {"device": "cpu", "batch_size": 1, "median_ms": 21.5, "p95_ms": 24.0, "repeats": 30},
}
_VERIFICATION = {
    "passed": True,
    "exporter": "torchscript",
    "num_images": 32,
    "tolerance": 0.001,
    "top1_agreement": 1.0,
    "max_abs_logit_difference": 4.8e-07,
    "batch_sizes": [{"batch_size": 1, "top1_agreement": 1.0, "max_abs_logit_difference": 4.8e-07}],
}
_ENVIRONMENT = {
    "data_root": "/photos",
    "data_fingerprint": "fbc6938c",
    "command": ["classifier-training", "train", "/photos"],
    "python": "3.11.7",
    "platform": "Linux",
    "versions": {"torch": "2.9.0", "timm": "1.0.20"},
    "git_commit": None,
    "cpu": {"model": "some processor", "count": 8, "threads": 8},
    "gpus": [],
}
