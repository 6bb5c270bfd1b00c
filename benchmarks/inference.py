"""How many photos a second are predicted, side by side with a bare loop and with what other trainers bring.

    python -m benchmarks.inference RUN PHOTOS [--images 1000] [--rounds 3] [--only ours bare]

``RUN`` is a finished run, ``PHOTOS`` a folder of JPEGs, which are repeated up to ``--images``. All contestants run the
same network: ours and Ultralytics the run's ``model.onnx``, as the bare loop does, timm the model of that name. Each
has a process of its own, predicts some photos first, and then all of them; they take turns, and the best of the rounds
counts, as what else runs on the machine only makes it slower.

- ours: the work of ``predict RUN PHOTOS --output labels.csv``, the written file included.
- bare loop: decodes with simplejpeg, the fastest binding of libjpeg-turbo, resizes with Pillow, normalises with numpy,
  and runs onnxruntime with its defaults, in batches; nothing overlaps, nothing is checked. The best size of batches.
- bare loop, threads: the same, whose images are decoded and resized by a pool of as many threads as there are cores.
- timm: its data set, transforms and loader with two processes, and the PyTorch model under ``inference_mode``.
- Ultralytics: ``YOLO(...).predict`` of the ONNX file, in batches.

Then what a server pays once: the CPU time of ``import classifier_training.inference``, and the time from a new Python
until a `Classifier` has answered for one photo.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from classifier_training.inference.card import DeploymentCard

BATCH: Final = 32
BARE_BATCHES: Final = (1, 8, 32)
TARGETS: Final = (("bare loop", 0.95), ("timm", 1.5), ("Ultralytics", 1.5))
Predict = Callable[[list[Path]], int]
"""Predicts photos, and returns how many labels came out."""


def ours(run: Path) -> Predict:
    """The command without its terminal."""
    from classifier_training.inference.classifier import BATCH_SIZE, Classifier
    from classifier_training.inference.destination import Destination
    from classifier_training.inference.job import Job
    from classifier_training.inference.rows import RowFormat

    classifier = Classifier(run)
    job = Job(classifier, RowFormat(classifier.classes, has_all=False), print, BATCH_SIZE)

    def predict(photos: list[Path]) -> int:
        with tempfile.TemporaryDirectory() as folder:
            to = Destination(Path(folder) / "labels.csv")
            return to.run(job, iter(photos), lambda _: None, lambda _: None).num_images

    return predict


def bare(run: Path, *, batch: int, num_threads: int = 1) -> Predict:
    """The least that gives the labels."""
    import onnxruntime
    import simplejpeg
    from PIL import Image

    from classifier_training.inference.card import DeploymentCard

    session = onnxruntime.InferenceSession(str(run / "export" / "model.onnx"), providers=["CPUExecutionProvider"])
    card = DeploymentCard.from_metadata(session.get_modelmeta().custom_metadata_map, "model.onnx")
    how = cast("DeploymentCard", card).preprocessing
    mean = np.array([255 * value for value in how.mean], np.float32).reshape(3, 1, 1)
    scale = np.array([1 / (255 * value) for value in how.std], np.float32).reshape(3, 1, 1)
    filters = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}

    def read(path: Path) -> NDArray[np.float32]:
        image = Image.fromarray(simplejpeg.decode_jpeg(path.read_bytes(), "RGB"))
        size = [int(how.resize_size * side / min(image.size)) for side in image.size]
        left, top = ((side - how.image_size) // 2 for side in size)
        resized = image.resize((size[0], size[1]), filters[how.interpolation])
        pixels = np.asarray(resized.crop((left, top, left + how.image_size, top + how.image_size)))
        values = pixels.transpose(2, 0, 1).astype(np.float32)
        values -= mean
        values *= scale
        return values

    pool = ThreadPoolExecutor(num_threads)

    def predict(photos: list[Path]) -> int:
        count = 0
        for start in range(0, len(photos), batch):
            some = photos[start : start + batch]
            images = np.stack(list(pool.map(read, some) if num_threads > 1 else map(read, some)))
            count += len(session.run(["logits"], {"input": images})[0].argmax(axis=1))
        return count

    return predict


def timm(run: Path) -> Predict:
    """As in timm's ``inference.py``, with two processes."""
    import timm as library
    import torch
    from timm.data.dataset import ImageDataset
    from timm.data.loader import create_loader

    from classifier_training.models.checkpoint import load_model

    trained = load_model(run / "checkpoints" / "best.ckpt")
    how = trained.preprocessing
    model = library.create_model(str(trained.hparams["backbone"]), num_classes=len(trained.classes)).eval()
    model.load_state_dict(trained.backbone.state_dict())

    def predict(photos: list[Path]) -> int:
        make: Any = ImageDataset
        dataset = make(str(photos[0].parent), reader=_Listed(photos))
        loader = create_loader(
            dataset,
            (3, how.image_size, how.image_size),
            BATCH,
            use_prefetcher=False,
            interpolation=how.interpolation,
            mean=how.mean,
            std=how.std,
            crop_pct=how.crop_pct,
            num_workers=2,
            device=torch.device("cpu"),
        )
        count = 0
        with torch.inference_mode():
            for images, _ in loader:
                count += len(model(images).softmax(-1).topk(1)[1])
        return count

    return predict


class _Listed:
    """A reader of timm for a list of files."""

    def __init__(self, photos: list[Path]) -> None:
        self.photos = photos

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.photos[index].open("rb"), 0

    def __len__(self) -> int:
        return len(self.photos)


def ultralytics(run: Path) -> Predict:
    """Its predictor on the same file, whose metadata is written as its own export does."""
    import onnx
    from ultralytics import YOLO

    source = onnx.load(str(run / "export" / "model.onnx"))
    names = json.loads({entry.key: entry.value for entry in source.metadata_props}["class_names"])
    size = json.loads({entry.key: entry.value for entry in source.metadata_props}["preprocessing"])["image_size"]
    del source.metadata_props[:]
    del source.graph.output[1:]
    own = {"stride": "1", "task": "classify", "batch": str(BATCH), "imgsz": str([size, size]), "channels": "3"}
    onnx.helper.set_model_props(source, {**own, "names": str(dict(enumerate(names))), "args": "{'dynamic': True}"})
    folder = tempfile.mkdtemp()
    onnx.save(source, f"{folder}/model.onnx")
    model = YOLO(f"{folder}/model.onnx", task="classify")

    def predict(photos: list[Path]) -> int:
        listed = Path(folder) / "photos.txt"
        listed.write_text("\n".join(map(str, photos)), encoding="utf-8")
        found = model.predict(str(listed), batch=BATCH, imgsz=size, device="cpu", stream=True, verbose=False)
        return sum(1 for _ in found)

    return predict


CONTESTANTS: Final[dict[str, Callable[[Path], Predict]]] = {
    "ours": ours,
    **{f"bare loop, batches of {size}": functools.partial(bare, batch=size) for size in BARE_BATCHES},
    "bare loop, threads": functools.partial(bare, batch=BATCH, num_threads=os.cpu_count() or 1),
    "timm": timm,
    "Ultralytics": ultralytics,
}

IMPORT: Final = "import time; import classifier_training.inference as i; i.Classifier; print(time.process_time())"
READY: Final = """
import sys
from classifier_training.inference import Classifier
Classifier(sys.argv[1]).predict(sys.argv[2])
"""


def measure(name: str, run: Path, photos: list[Path]) -> float:
    """Images a second, after some to warm up."""
    predict = CONTESTANTS[name](run)
    predict(photos[: 2 * BATCH])
    return _round(predict, photos)


def _measure_apart(name: str, run: Path, photos: Path, num_images: int) -> float | str:
    """`measure` in a process of its own; why not, if it could not be measured."""
    arguments = json.dumps([name, str(run), str(photos), num_images])
    command = [sys.executable, "-m", "benchmarks.inference", "--measure", arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["?"])[-1]
    return float(done.stdout.strip().splitlines()[-1])


def _round(predict: Predict, photos: list[Path]) -> float:
    started = time.perf_counter()
    count = predict(photos)
    if count != len(photos):
        raise ValueError(f"{count} labels for {len(photos)} photos")
    return count / (time.perf_counter() - started)


def compare(run: Path, photos: Path, num_images: int, rounds: int, only: list[str] | None) -> None:
    """Measures one contestant after the other, then the start, and prints what was found."""
    found: dict[str, float] = {}
    names = [name for name in CONTESTANTS if not only or name.startswith(tuple(only))]
    for name in names * rounds:
        value = _measure_apart(name, run, photos, num_images)
        if isinstance(value, str):
            print(f"{name:28} left out: {value}", flush=True)
            continue
        found[name] = max(value, found.get(name, 0.0))
        print(f"{name:28} {value:8.1f} images/s", flush=True)
    print(*(f"{name:28} {value:8.1f} images/s at best" for name, value in found.items()), sep="\n")
    for name, factor in TARGETS:
        others = [value for other, value in found.items() if other.startswith(name) and "threads" not in other]
        if others and "ours" in found:
            ratio = found["ours"] / max(others)
            print(f"ours / {name}: {ratio:.2f}, target {factor:g}: {'met' if ratio >= factor else 'NOT MET'}")
    first = next(iter(_photos(photos, 1)))
    seconds = min(float(_python(IMPORT)) for _ in range(rounds))
    print(f"import: {seconds:.2f} s of CPU, target 0.4: {'met' if seconds <= 0.4 else 'NOT MET'}")
    waits = []
    for _ in range(rounds):
        started = time.perf_counter()
        _python(READY, str(run), str(first))
        waits.append(time.perf_counter() - started)
    print(f"Classifier ready, first photo: {min(waits):.2f} s, target 1: {'met' if min(waits) <= 1 else 'NOT MET'}")


def _python(code: str, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout


def _photos(folder: Path, count: int) -> Iterator[Path]:
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    return itertools.islice(itertools.cycle(files), count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path)
    parser.add_argument("photos", nargs="?", type=Path)
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="*", help="beginnings of names")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        name, run, photos, num_images = json.loads(options.measure)
        print(measure(name, Path(run), list(_photos(Path(photos), num_images))))
    elif options.run and options.photos:
        compare(options.run, options.photos, options.images, options.rounds, options.only)
    else:
        parser.error("the run and the folder of photos are missing")


if __name__ == "__main__":
    main()
