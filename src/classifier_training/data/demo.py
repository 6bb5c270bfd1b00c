"""The data of the demo: scikit-learn's handwritten digits, written as an image folder."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from classifier_training.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUM_DIGITS = 1797
SPLITS = {"train": 0.70, "val": 0.15, "test": 0.15}
SPLIT_SEED = 0
DEMO_SETTINGS = (
    "model.name=resnet10t",
    "model.pretrained=false",
    "data.image_size=16",  # twice the size of the digits
    "data.crop_pct=1.0",
    "data.batch_size=64",
    "data.hflip=0",  # a mirrored digit is a different digit, or not a digit
    "data.train_scale=[0.7,1.0]",
    "optimizer.lr=3e-3",
    "trainer.max_epochs=4",
)
"""Small images, small backbone, from scratch: minutes on two processors."""


def write_digits(folder: Path) -> Path:
    """Writes the digits as ``folder/{train,val,test}/<digit>/<index>.png``.

    1,797 greyscale images of 8×8 pixels, as scikit-learn ships them, with their 17 grey levels spread over
    0..255. The split is stratified and always the same. A folder that holds all of them already is left as
    it is; a new one appears whole or not at all.

    Args:
        folder: Where the images go; it must not exist yet, be empty, or hold the digits already.

    Returns:
        ``folder``.

    Raises:
        DataError: scikit-learn is not installed, ``folder`` holds something else, or cannot be written.
    """
    if _is_complete(folder):
        return folder
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(
                f"{folder} exists and does not hold the {NUM_DIGITS} digits of the demo;"
                " remove it, or name another folder"
            )
        images, labels = _load_digits()
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as temporary:
            digits = Path(temporary, "digits")
            _write_images(digits, images, labels)
            _publish(digits, folder)
    except OSError as error:
        raise DataError(f"cannot write the digits of the demo to {folder}: {error.strerror or error}") from None
    return folder


def split_indices(labels: NDArray[np.int64]) -> dict[str, list[int]]:
    """Distributes every class over the splits by their shares in `SPLITS`, always in the same way.

    Args:
        labels: int64 (N,).

    Returns:
        The sorted positions of each split; together they are 0..N-1.
    """
    import numpy as np

    generator = np.random.default_rng(SPLIT_SEED)
    dealt: dict[str, list[int]] = {split: [] for split in SPLITS}
    for label in np.unique(labels):
        positions = generator.permutation(np.flatnonzero(labels == label))
        ends = np.rint(np.cumsum(list(SPLITS.values())) * len(positions)).astype(int)
        for split, part in zip(SPLITS, np.split(positions, ends[:-1]), strict=True):
            dealt[split].extend(part.tolist())
    return {split: sorted(positions) for split, positions in dealt.items()}


def _load_digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images, uint8 (1797, 8, 8), and their digits, int64 (1797,)."""
    import numpy as np

    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError(
            f"the demo takes its handwritten digits from scikit-learn, which cannot be imported ({error});"
            " install it: pip install scikit-learn"
        ) from None
    digits = load_digits()
    return np.rint(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


def _write_images(root: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Writes one PNG for each of the ``images``, uint8 (N, H, W), below ``root``."""
    from PIL import Image

    for split, positions in split_indices(labels).items():
        for position in positions:
            path = root / split / str(labels[position]) / f"{position:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(images[position]).save(path)


def _publish(digits: Path, folder: Path) -> None:
    """Renames the finished ``digits`` to ``folder``, unless another process was first."""
    try:
        if folder.is_dir():
            folder.rmdir()  # empty; if it is not, another process has just filled it
        digits.rename(folder)
    except OSError:
        if not _is_complete(folder):
            raise


def _is_complete(folder: Path) -> bool:
    """Whether ``folder`` holds all the images in the layout of `write_digits`."""
    return sum(1 for split in SPLITS for _ in folder.glob(f"{split}/[0-9]/*.png")) == NUM_DIGITS
