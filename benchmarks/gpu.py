"""What a run does on one GPU, in a table, within eight minutes.

    python -m benchmarks.gpu [--small] [--only steps ema scores compile resume]

It makes its own images. A run's training step (Trainer, the whole list of callbacks, EMA, metrics, clipping, schedule)
at 224 px is compared with a bare loop that trains the same model with the same optimizer and average, both on batches
that are on the GPU already; then with its own loader, from a warm cache and with the default augmentation. Then: the
share of the time in which the host waits for a batch; operations that let the host wait for the device
(``torch.cuda.set_sync_debug_mode``); the peak of the memory; what an update and an exchange of the average take; how
scores in bfloat16 differ from those in float32; ``model.compile``; and whether a run that was killed and resumed ends
with the bits of one that was not.

``--small``, and a machine without a GPU, do the same with a few steps of tiny models, in seconds: their numbers say
nothing, but every part of the script runs.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import lightning
import torch
from benchmarks.gpu_parts import (
    FULL,
    SMALL,
    Measured,
    Scale,
    Setup,
    device_batches,
    make_images,
    make_model,
    measure_bare_loop,
    measure_trainer,
    photo_data,
    synchronize,
)
from benchmarks.gpu_resume import train_and_die, train_to_the_end

from classifier_training.models.weight_average import WeightAverage

Row = tuple[str, str]
SECTIONS = ("steps", "ema", "scores", "compile", "resume")


def steps(setup: Setup) -> list[Row]:
    """Images per second of the training step, against a bare loop and with data from the loader."""
    rows: list[Row] = []
    for name in setup.scale.models:
        batches = device_batches(setup)
        bare = measure_bare_loop(name, setup, batches)
        ours = measure_trainer(make_model(name, setup), setup, batches)
        loaded = measure_trainer(make_model(name, setup), setup, photo_data(setup))
        # without a GPU the loader works in this process, and reads numbers of its own
        watched = loaded if setup.device.type == "cuda" else ours
        rows += [
            (f"{name}: bare loop, data on the device", _rate(bare)),
            (f"{name}: a run, data on the device", f"{_rate(ours)}, {ours.rate / bare.rate:.3f} of the bare loop"),
            (
                f"{name}: a run, from its loader",
                f"{_rate(loaded)}, {loaded.rate / ours.rate:.3f} of data on the device",
            ),
            (f"{name}: host waits for a batch", f"{loaded.waiting:.1%} of the time"),
            (
                f"{name}: waits for the device per step",
                f"{watched.waits_per_step:g} {', '.join(watched.where)}".rstrip(),
            ),
        ]
    return rows


def ema(setup: Setup) -> list[Row]:
    """What the average costs: an update, and an exchange with the weights and back."""
    name = setup.scale.models[-2]
    average = WeightAverage(make_model(name, setup).to(setup.device))
    flat = torch.zeros(sum(value.numel() for value in average.module.parameters()), device=setup.device)
    other = torch.ones_like(flat)

    def swap() -> None:
        average.swap_in()
        average.swap_out()

    timed = {
        "update": _milliseconds(setup, lambda: average.update(0.999)),
        "one flat lerp of as many values": _milliseconds(setup, lambda: flat.lerp_(other, 0.001)),
        "exchange and back": _milliseconds(setup, swap),
    }
    return [(f"EMA of {name}: {what}", f"{value:.3f} ms") for what, value in timed.items()]


def scores(setup: Setup) -> list[Row]:
    """Scores of the same weights in float32 and in bfloat16, and in float32 once more."""
    name = setup.scale.models[0]
    model = make_model(name, setup)
    measure_trainer(model, setup, photo_data(setup))
    model.to(setup.device).eval()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    data = photo_data(setup)
    data.setup("fit")

    def logits(*, mixed: bool) -> tuple[torch.Tensor, torch.Tensor]:
        found, labels = [], []
        with torch.inference_mode(), torch.autocast(setup.device.type, torch.bfloat16, enabled=mixed):
            for batch in data.val_dataloader():
                found.append(model(batch["images"].to(setup.device)).float().cpu())
                labels.append(batch["labels"])
        return torch.cat(found), torch.cat(labels)

    (exact, labels), (again, _), (rounded, _) = logits(mixed=False), logits(mixed=False), logits(mixed=True)
    top1 = [float((one.argmax(1) == labels).float().mean()) for one in (exact, rounded)]
    others = int((exact.argmax(1) != rounded.argmax(1)).sum())
    return [
        (f"{name}: float32 scored twice", "equal to the bit" if torch.equal(exact, again) else "NOT equal"),
        (f"{name}: top-1 in float32, in bfloat16", f"{top1[0]:.4f}, {top1[1]:.4f} of {len(labels)} images"),
        (f"{name}: predictions that differ", f"{others}, largest difference of a logit {_difference(exact, rounded)}"),
    ]


def compiled(setup: Setup) -> list[Row]:
    """`model.compile` on and off; the first steps, which compile, are not counted."""
    name = setup.scale.models[0]
    if setup.scale.is_small:
        return [(f"{name}: model.compile", "not run in the small form")]
    batches = device_batches(setup)
    eager, fast = (measure_trainer(make_model(name, setup, compile=on), setup, batches) for on in (False, True))
    return [
        (f"{name}: model.compile=false", _rate(eager)),
        (f"{name}: model.compile=true", f"{_rate(fast)}, {fast.rate / eager.rate:.2f} times as fast"),
    ]


def resume(setup: Setup) -> list[Row]:
    """A training whose process is killed in the middle of an epoch, and resumed, against one that is left alone."""
    whole, killed = setup.folder / "whole", setup.folder / "killed"
    train_to_the_end(setup, whole)
    at_step = train_and_die(setup, killed)
    train_to_the_end(setup, killed)
    one, other = (torch.load(folder / "last.ckpt", weights_only=True, map_location="cpu") for folder in (whole, killed))
    different = [key for key in ("state_dict", "training_state_dict") if not _are_equal(one[key], other[key])]
    is_same = not different and (whole / "metrics.csv").read_bytes() == (killed / "metrics.csv").read_bytes()
    words = "equal to the bit" if is_same else f"NOT equal: {', '.join(different) or 'metrics.csv'}"
    return [(f"{setup.scale.models[0]}: killed after step {at_step} and resumed", words)]


def _are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def _difference(one: torch.Tensor, other: torch.Tensor) -> str:
    return f"{float((one - other).abs().max()):.2g}"


def _rate(measured: Measured) -> str:
    memory = f", peak {measured.peak_bytes / 2**30:.2f} GiB" if measured.peak_bytes else ""
    return f"{measured.rate:,.0f} images/s{memory}"


def _milliseconds(setup: Setup, function: Callable[[], object]) -> float:
    """The median of some calls, each until the device is done."""
    seconds = []
    for _ in range(setup.scale.num_steps):
        synchronize(setup.device)
        start = time.perf_counter()
        function()
        synchronize(setup.device)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds) * 1e3


PARTS: dict[str, Callable[[Setup], list[Row]]] = dict(
    zip(SECTIONS, (steps, ema, scores, compiled, resume), strict=True)
)


def run(scale: Scale, device: torch.device, folder: Path, sections: Sequence[str] = SECTIONS) -> list[Row]:
    """Measures, and prints each row as soon as it is known."""
    setup = Setup(scale, device, folder, make_images(folder / "photos", scale))
    rows: list[Row] = []
    print("| | |\n|---|---|")
    for section in sections:
        start = time.perf_counter()
        found = PARTS[section](setup)
        if device.type == "cuda":
            torch.cuda.empty_cache()
        found.append((f"{section}: took", f"{time.perf_counter() - start:.0f} s"))
        for title, value in found:
            print(f"| {title} | {value} |", flush=True)
        rows += found
    return rows


def main(words: Sequence[str] | None = None) -> None:
    """Reads the arguments, measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="tiny models and few steps, as without a GPU")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS, help="parts to run")
    arguments = parser.parse_args(words)
    warnings.simplefilter("ignore")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    has_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if has_gpu else "cpu")
    scale = FULL if has_gpu and not arguments.small else SMALL
    hardware = torch.cuda.get_device_name() if has_gpu else f"{platform.machine()} CPU"
    print(f"{hardware}, torch {torch.__version__}, lightning {lightning.__version__}, batches of {scale.batch_size}")
    if scale.is_small:
        print("the small form: these numbers say nothing about speed")
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run(scale, device, Path(folder), arguments.only)
    print(f"\n{time.perf_counter() - started:.0f} s in all (target: 480)")


if __name__ == "__main__":
    main()
