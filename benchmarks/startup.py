"""CPU time of what people wait for before anything happens: ``--help`` and a configuration error.

Run: python benchmarks/startup.py
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

REPEATS = 7
TARGET_SECONDS = 0.6
COMMANDS = {
    "--help": ["--help"],
    "train --help": ["train", "--help"],
    "configuration error": ["train", ".", "data.batchsize=3"],
    "configuration error with a preset": ["train", ".", "model=resnet50", "data.batch_size=big"],
    "unknown folder": ["train", "no-such-folder"],
    "import torch, for comparison": [],
}


def cpu_seconds(arguments: list[str]) -> float:
    """User and system time of one process."""
    program = ["-m", "classifier_training", *arguments] if arguments else ["-c", "import torch"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *program], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Prints the median of each command."""
    print(f"{'command':36} {'median':>8} {'min':>8} {'max':>8}   target <= {TARGET_SECONDS} s CPU time")
    for name, arguments in COMMANDS.items():
        times = sorted(cpu_seconds(arguments) for _ in range(REPEATS))
        verdict = "" if not arguments else "met" if statistics.median(times) <= TARGET_SECONDS else "NOT MET"
        print(f"{name:36} {statistics.median(times):7.2f}s {times[0]:7.2f}s {times[-1]:7.2f}s   {verdict}")


if __name__ == "__main__":
    main()
