"""The files of a finished run, each with what it is for."""

from __future__ import annotations

from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal
from classifier_training.types import SPLITS

_MEANING = {
    "config.yaml": "the whole configuration; train --config repeats the run",
    "environment.json": "versions, hardware, seed, data fingerprint",
    "metrics.csv": "every metric of every epoch",
    "timings.csv": "how long every epoch took",
    "results.json": "the scores",
    "report.html": "all of it on one page",
    "model_info.json": "parameters, FLOPs, size and latency of the model",
    "train.log": "what was said here",
    "trackers.json": "where a resumed run goes on in its trackers",
    "data/split.csv": "which photo was in which split",
    "data/statistics.json": "what the photos are like",
    "data/sampler_distribution.csv": "what was drawn in each epoch, by class",
    "plots/history.png": "loss, scores, learning rate and speed of every epoch",
    "plots/sampler_distribution.png": "what was drawn, by class",
    "plots/images_per_class.png": "the photos of each class and split",
    "plots/image_sizes.png": "how large the photos are",
    "plots/train_batch.png": "training images as the model got them",
    "checkpoints/best.ckpt": "the weights that scored best",
    "checkpoints/last.ckpt": "where train --resume goes on",
    "checkpoints/last-1.ckpt": "the one before last.ckpt, for when that is damaged",
    "export/model.onnx": "the model to deploy",
    "export/labels_mapping.json": "class names and preprocessing",
    "export/verification.json": "the proof that model.onnx answers like best.ckpt",
}
_MEANING_IN_A_SPLIT = {
    "scores.json": "the scores with their intervals, and what they are of",
    "predictions.csv": "what was said of each image",
    "confusion_matrix.csv": "how often each class was taken for each other",
    "confusion_matrix.png": "the same as an image",
    "confusion_matrix_normalized.png": "the same, as shares of the true class",
    "pictures.json": "which images are shown, and why",
    "samples.png": "some images with what was said of them",
    "worst_errors.png": "the errors with the highest loss",
    "least_certain.png": "the images that the model was least sure of",
}
_MEANING_OF_FOLDERS = {
    "val/pictures/": "small images for the report",
    "test/pictures/": "small images for the report",
    "evaluations/": "what evaluate has written",
    "tensorboard/": "for tensorboard --logdir",
    "wandb/": "for wandb sync",
}


def show_files(run: RunFolder, terminal: Terminal) -> None:
    """Shows every file of a run and its meaning."""
    names = [path.relative_to(run.root).as_posix() for path in run.written_files()]
    terminal.pairs(f"files in {run.root}", dict(map(_row, names)))


def _row(name: str) -> tuple[str, str]:
    """What is said of a file; of the files of some folders, what is said of all of them."""
    for folder, meaning in _MEANING_OF_FOLDERS.items():
        if name.startswith(folder):
            return folder, meaning
    folder, _, rest = name.partition("/")
    return name, (_MEANING_IN_A_SPLIT if folder in SPLITS else _MEANING).get(rest if folder in SPLITS else name, "")
