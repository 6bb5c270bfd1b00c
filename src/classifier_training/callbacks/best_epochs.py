"""The weights of the best epochs of a training, kept as small checkpoints until the final weights are chosen."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

from classifier_training.metrics.best_epoch import EpochScore, Mode, is_better
from classifier_training.models.checkpoint import read_checkpoint, write_checkpoint
from classifier_training.run.checkpoint_files import epoch_checkpoint, epoch_checkpoints

KEPT_KEYS: Final[tuple[str, ...]] = (
    "state_dict",
    "hyper_parameters",
    "epoch",
    "global_step",
    "pytorch-lightning_version",
)
"""What a checkpoint needs to be scored; without the state of the training it has a third of the size."""


class BestEpochs:
    """Which epochs are the best so far, and their files ``epoch-<number>.ckpt``, the first epoch being number 1.

    A process that is killed at any moment leaves the files of all epochs that the ``last.ckpt`` it leaves knows of.

    Args:
        folder: Of the files.
        count: How many epochs are kept.
        mode: Whether a higher or a lower score is better.
    """

    def __init__(self, folder: Path, count: int, mode: Mode) -> None:
        self.folder = folder
        self.count = count
        self.mode = mode
        self.scores: dict[int, EpochScore] = {}

    def offer(self, epoch: int, score: EpochScore) -> bool:
        """Takes an epoch in where it is among the best; whether it is. It is known before a checkpoint is saved."""
        self.scores.pop(epoch, None)
        if self.count == 0 or not math.isfinite(score.score):
            return False
        self.scores[epoch] = score
        while len(self.scores) > self.count:
            del self.scores[self._worst()]
        return epoch in self.scores

    def _worst(self) -> int:
        worst = max(self.scores)  # of equal ones the latest
        for epoch in sorted(self.scores, reverse=True):
            if is_better(self.scores[worst], self.scores[epoch], self.mode):
                worst = epoch
        return worst

    def write(self, checkpoint: Path, epoch: int) -> None:
        """Keeps the weights of a complete checkpoint of an epoch."""
        content = read_checkpoint(checkpoint)
        kept = {key: content[key] for key in KEPT_KEYS if key in content}
        write_checkpoint(kept, epoch_checkpoint(self.folder, epoch))

    def remove_others(self) -> None:
        """Removes the files of epochs that are no longer among the best."""
        for epoch, path in epoch_checkpoints(self.folder).items():
            if epoch not in self.scores:
                path.unlink(missing_ok=True)

    def state_dict(self) -> list[list[float | None]]:
        """Epoch, score and loss of each, as plain values."""
        return [[epoch, one.score, one.loss] for epoch, one in sorted(self.scores.items())]

    def load_state_dict(self, state: list[list[Any]]) -> None:
        """Takes over what `state_dict` gave."""
        self.scores = {int(epoch): EpochScore(score, loss) for epoch, score, loss in state}
