"""The checkpoints of a run: their names, and how a new one replaces the one before."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from classifier_training.files.atomic import atomic_path
from classifier_training.run.folder import RunFolder


def resumable_checkpoints(run: RunFolder) -> list[Path]:
    """The checkpoints that training can resume from, the latest first; the best one, however old, last."""
    kept = [run.last_checkpoint, *earlier_checkpoints(run.checkpoints), run.best_checkpoint]
    return [path for path in kept if path.is_file()]


def earlier_checkpoints(folder: Path) -> list[Path]:
    """``last-1.ckpt``, which ``last.ckpt`` has replaced, ``last-2.ckpt``, which that has replaced, and so on."""
    paths = (path for path in folder.glob("last-*.ckpt") if path.stem.removeprefix("last-").isdecimal())
    return sorted(paths, key=_age)


def epoch_checkpoint(folder: Path, epoch: int) -> Path:
    """The file of the weights of an epoch, which counts from 0; its name counts from 1, as all messages do."""
    return folder / f"epoch-{epoch + 1}.ckpt"


def epoch_checkpoints(folder: Path) -> dict[int, Path]:
    """All files of `epoch_checkpoint`, by their epochs, the first one first."""
    numbers = {path: path.stem.removeprefix("epoch-") for path in folder.glob("epoch-*.ckpt")}
    found = {int(number) - 1: path for path, number in numbers.items() if number.isdecimal()}
    return dict(sorted(found.items()))


def replace_last_checkpoint(fresh: Path, keep: int) -> None:
    """Gives a finished checkpoint the name ``last.ckpt``, and the one that had it the name ``last-1.ckpt``.

    A process that is killed at any moment leaves at least one whole checkpoint under these names.

    Args:
        fresh: The new checkpoint, in the same folder; its own name is gone afterwards.
        keep: Number of checkpoints to keep, with the new one.
    """
    last = fresh.with_name("last.ckpt")
    for path in reversed(earlier_checkpoints(fresh.parent)):
        if _age(path) + 1 < keep:
            path.replace(path.with_name(f"last-{_age(path) + 1}.ckpt"))
        else:
            path.unlink()
    if keep > 1 and last.is_file():
        try:
            os.link(last, last.with_name("last-1.ckpt"))  # so that last.ckpt is never missing
        except OSError:  # a file system without hard links
            last.replace(last.with_name("last-1.ckpt"))
    fresh.replace(last)


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a finished file a second name: both are only ever replaced, never written into."""
    with atomic_path(target) as temporary:
        temporary.unlink()
        try:
            os.link(source, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(source, temporary)


def _age(path: Path) -> int:
    """The number in the name of a ``last-<number>.ckpt``."""
    return int(path.stem.removeprefix("last-"))
