"""The files of a finished run, each with what it is for."""

from __future__ import annotations

from classifier_training.runs import RunFolder
from classifier_training.terminal import Terminal

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
    "checkpoints/best.ckpt": "the weights that scored best",
    "checkpoints/last.ckpt": "where train --resume goes on",
    "checkpoints/last-1.ckpt": "the one before last.ckpt, for when that is damaged",
    "export/model.onnx": "the model to deploy",
    "export/labels_mapping.json": "class names and preprocessing",
    "export/verification.json": "the proof that model.onnx answers like best.ckpt",
}
_MEANING_OF_FOLDERS = {
    "plots/": "figures: curves, photos, what was drawn, a batch of training pictures",
    "val/": "what was said of each validation picture: scores, predictions.csv, figures",
    "test/": "what was said of each test picture: scores, predictions.csv, figures",
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
    return name, _MEANING.get(name, "")
