"""Images per second of the two ONNX forms, from the files of photos to labels, one photo at a time.

Run: python benchmarks/end_to_end.py RUN PHOTOS [--images 100] [--rounds 5]

RUN has been exported in both forms (`classifier-training export RUN`, and with `--form end-to-end`). Both ways decode
with Pillow, use all cores in onnxruntime, and run in turns in one process. What `model.onnx` gets is resized and
normalised by this package, as the card says; `model_e2e.onnx` does that itself. `--enlarge 3` makes the photos larger
before, as those of a phone are. Printed are the medians over the rounds.
"""

from __future__ import annotations

import argparse
import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from classifier_training.exporters.end_to_end_proof import decode_plainly
from classifier_training.imaging.preprocess import preprocess
from classifier_training.inference import OnnxClassifier
from classifier_training.inference.session import open_session
from classifier_training.run.folder import ExportFolder


def read_photos(folder: Path, num_images: int, factor: float) -> list[bytes]:
    """The contents of JPEG files from all over a folder, each enlarged by a factor."""
    paths = sorted(folder.rglob("*.jpg"))
    contents = [path.read_bytes() for path in paths[:: max(1, len(paths) // num_images)][:num_images]]
    if factor == 1:
        return contents
    enlarged = []
    for content in contents:
        image, file = Image.open(io.BytesIO(content)), io.BytesIO()
        image.resize((round(image.width * factor), round(image.height * factor))).save(file, "JPEG", quality=90)
        enlarged.append(file.getvalue())
    return enlarged


def make_ways(export: ExportFolder) -> dict[str, Callable[[bytes], int]]:
    """From the bytes of a file to a label, by the name of the exported file."""
    plain, whole = open_session(export.onnx, None), open_session(export.end_to_end, None)
    preprocessing = OnnxClassifier(export.onnx).preprocessing
    limit = preprocessing.max_image_pixels

    def with_plain(content: bytes) -> int:
        prepared = preprocess(decode_plainly(content, limit), preprocessing)
        return int(plain.run(["logits"], {"input": prepared[None]})[0].argmax())

    def with_whole(content: bytes) -> int:
        return int(whole.run(["label_index"], {"images": decode_plainly(content, limit)[None]})[0][0])

    return {export.onnx.name: with_plain, export.end_to_end.name: with_whole}


def main() -> None:
    """Prints the speed of each, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--enlarge", type=float, default=1)
    given = parser.parse_args()
    contents = read_photos(given.photos, given.images, given.enlarge)
    ways = make_ways(ExportFolder(given.run / "export"))
    labels = {name: [way(content) for content in contents] for name, way in ways.items()}  # and warm
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(given.rounds):
        for name, way in ways.items():
            started = time.perf_counter()
            for content in contents:
                way(content)
            seconds[name].append(time.perf_counter() - started)
    speeds = {name: len(contents) / statistics.median(times) for name, times in seconds.items()}
    first, second = ways
    agreement = np.mean([one == other for one, other in zip(labels[first], labels[second], strict=True)])
    for name, speed in speeds.items():
        print(f"{name:16} {speed:8.1f} images/s")
    print(f"{second} is {speeds[second] / speeds[first]:.2f} x as fast; {agreement:.1%} of the labels agree")


if __name__ == "__main__":
    main()
