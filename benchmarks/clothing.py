"""Fine-tuning on 767 real photos with the preset that a user would pick: test top-1 and minutes.

Needs the photos and the weights of ``../shared/data``, or others named on the command line.
Run: python benchmarks/clothing.py [PHOTOS WEIGHTS [KEY=VALUE ...]]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from classifier_training import train

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
TARGET_TOP1, TARGET_MINUTES = 0.80, 15.0
SETTINGS = ["model=tf_efficientnet_lite0"]


def main() -> None:
    """Trains, and prints the result beside what is known of simpler ways."""
    own = [SHARED / "clothing", SHARED / "weights" / "tf_efficientnet_lite0.safetensors"]
    photos, weights, *more = sys.argv[1:] or own
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        result = train(photos, SETTINGS, {"model.weights": weights, "run.dir": folder}, list(map(str, more)))
        minutes = (time.perf_counter() - started) / 60
    if result is None:
        return
    print(f"\n{'method':60} {'test top-1':>10} {'minutes':>8}")
    print(f"{'always the largest class (full data set)':60} {0.196:10.3f} {'':>8}")
    print(f"{'careless full fine-tuning at 160 px (measured once)':60} {0.70:10.3f} {9.0:8.1f}")
    print(f"{'linear layer on frozen 224 px features (measured once)':60} {0.826:10.3f} {0.8:8.1f}")
    print(f"{'this program, ' + ' '.join(SETTINGS):60} {result.test.top1:10.3f} {minutes:8.1f}")
    met = result.test.top1 >= TARGET_TOP1 and minutes <= TARGET_MINUTES
    verdict = "met" if met else "NOT MET"
    print(f"target: top-1 >= {TARGET_TOP1}, <= {TARGET_MINUTES:g} minutes on 2 CPU cores: {verdict}")
    print(f"measured on {os.cpu_count()} cores; {result.test.num_images} test images")


if __name__ == "__main__":
    main()
