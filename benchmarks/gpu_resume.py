"""A training that is killed and resumed, for `benchmarks.gpu`; as a program, the process that is killed."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import lightning
from benchmarks.gpu_parts import Setup, make_images, make_model, make_trainer, photo_data

from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.callbacks.ema import EMACallback
from classifier_training.callbacks.metrics_csv import MetricsCSV

SAVE_EVERY, DIES_AT, NUM_RESUMED_BATCHES = 2, 5, 6


def train_to_the_end(setup: Setup, folder: Path, *, dies: bool = False) -> None:
    """Trains two short epochs into a folder, from where an earlier call stopped; or is killed in the first."""
    photos = setup.folder / "few"
    if not photos.is_dir():
        make_images(photos, setup.scale, NUM_RESUMED_BATCHES)
    callbacks: list[lightning.Callback] = [EMACallback(0.9), MetricsCSV(folder / "metrics.csv")]
    callbacks += [_Killer()] if dies else []
    callbacks.append(RunCheckpoint(folder, every_n_steps=SAVE_EVERY))
    last = folder / "last.ckpt"
    trainer = make_trainer(setup, callbacks)
    model = make_model(setup.scale.models[0], setup, drop_rate=0.1)
    trainer.fit(
        model, datamodule=photo_data(setup, photos), ckpt_path=last if last.is_file() else None, weights_only=True
    )


def train_and_die(setup: Setup, folder: Path) -> int:
    """Lets another process train until it is killed; gives the step after which it was.

    Raises:
        RuntimeError: It ended otherwise.
    """
    words = [sys.executable, "-m", "benchmarks.gpu_resume", setup.to_json(run=str(folder))]
    ended = subprocess.run(words, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[1])
    if not (folder / "last.ckpt").is_file() or ended.returncode in (0, 1):
        raise RuntimeError(f"the training that was to be killed ended with {ended.returncode}: {ended.stderr[-2000:]}")
    return DIES_AT


class _Killer(lightning.Callback):
    """Kills its own process, without any farewell."""

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        if trainer.global_step == DIES_AT:
            if hasattr(signal, "SIGKILL"):
                os.kill(os.getpid(), signal.SIGKILL)
            os._exit(137)


def main() -> None:
    """Trains, and is killed."""
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    values = json.loads(sys.argv[1])
    train_to_the_end(Setup.from_json(values), Path(values["run"]), dies=True)
    sys.exit("this process was to be killed")


if __name__ == "__main__":
    main()
