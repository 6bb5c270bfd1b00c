"""Tries the ways of quantising a network on this CPU: how fast, small and accurate each is, and which one is best."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import first_line
from classifier_training.exporters.forms import ExportSettings
from classifier_training.exporters.judged_logits import JudgedLogits
from classifier_training.exporters.quantization import SCHEMES, Quantizer, Scheme
from classifier_training.inference.session import LOGITS, open_session
from classifier_training.run.cpus import cpu_limit_here

TIMED_BATCH_SIZES: Final = (1, 8)
_EQUALLY_FAST: Final = 1.05
"""Two schemes whose speeds differ by less than this factor are equally fast: timings vary as much."""
_SECONDS: Final = 12.0
"""How long all is timed at most, but for the fewest rounds."""
_ROUNDS: Final = (3, 20)
"""The fewest and the most rounds."""
_NUM_ERROR_IMAGES: Final = 16
"""Calibration images that tell how sensitive a layer is."""


@dataclass(slots=True, eq=False)
class Trial:
    """One way of quantising.

    Attributes:
        scheme: How.
        path: The file.
        float_layers: The layers that stay float32 because they are sensitive.
        error: Why there is no such file, or onnxruntime cannot run it; None: it can.
        figures: Those of `JudgedLogits.judge`.
        speed: How many times as fast as float32, by batch size.
        verdict: What became of it, for a table.
    """

    scheme: Scheme
    path: Path
    float_layers: tuple[str, ...] = ()
    error: str | None = None
    figures: dict[str, Any] = field(default_factory=dict)
    speed: dict[int, float] = field(default_factory=dict)
    verdict: str = ""

    @property
    def name(self) -> str:
        """What a table calls it."""
        num = len(self.float_layers)
        return self.scheme.name + (f", {num} sensitive layer{'s' * (num != 1)} float" if num else "")

    @property
    def speedup(self) -> float:
        """The geometric mean over the batch sizes; 0 where nothing was timed."""
        return math.prod(self.speed.values()) ** (1 / len(self.speed)) if self.speed else 0.0

    @property
    def is_accurate(self) -> bool:
        """Whether the gate lets it pass."""
        return bool(self.figures.get("passed"))

    def to_json(self) -> dict[str, Any]:
        """A row of the table."""
        row: dict[str, Any] = {"scheme": self.name, "float_layers": list(self.float_layers)}
        if self.error is not None:
            return {**row, "error": self.error, "verdict": self.verdict}
        speed = {str(size): value for size, value in self.speed.items()}
        size = self.path.stat().st_size
        return {
            **row,
            "speedup": self.speedup,
            "speedups": speed,
            "bytes": size,
            **self.figures,
            "verdict": self.verdict,
        }


class Trials:
    """Makes, times and judges quantised files of one network.

    Args:
        quantizer: Of the network.
        float_path: Its float32 file.
        wanted: What the float32 model answers for labelled validation images.
        settings: What may be lost.
        folder: For the files.
    """

    def __init__(
        self, quantizer: Quantizer, float_path: Path, wanted: JudgedLogits, settings: ExportSettings, folder: Path
    ) -> None:
        self._quantizer = quantizer
        self._wanted = wanted
        self._settings = settings
        self._folder = folder
        self._num_threads = cpu_limit_here().count
        self._float = open_session(float_path, self._num_threads)
        self.all: list[Trial] = []

    def try_schemes(self) -> None:
        """Tries all of `SCHEMES`, timed in turns."""
        self._try([(scheme, ()) for scheme in SCHEMES])

    def try_float_layers(self, scheme: Scheme, images: NDArray[np.float32]) -> None:
        """Leaves more and more of the most sensitive layers in float32, until the gate lets a file pass.

        Args:
            scheme: How the others are quantised.
            images: float32 (n, 3, S, S), calibration images.
        """
        layers = self._by_sensitivity(scheme, images[:_NUM_ERROR_IMAGES])
        count = 1
        while count <= len(layers) // 2:
            (trial,) = self._try([(scheme, tuple(layers[:count]))])
            if trial.is_accurate:
                return
            count *= 2

    def _try(self, ways: Sequence[tuple[Scheme, tuple[str, ...]]]) -> list[Trial]:
        """Makes, judges and times some files; those that onnxruntime does not take have an `Trial.error`."""
        trials, sessions = list[Trial](), dict[int, Any]()
        for scheme, float_layers in ways:
            number = len(self.all)
            trial = Trial(scheme, self._folder / f"trial_{number}.onnx", float_layers)
            self.all.append(trial)
            trials.append(trial)
            try:
                self._quantizer.quantize(scheme, float_layers, trial.path)
                sessions[number] = open_session(trial.path, self._num_threads)
                trial.figures = self._wanted.judge(sessions[number], self._settings)
            except Exception as error:  # onnxruntime's exceptions share no base class but Exception
                sessions.pop(number, None)
                trial.error = first_line(error)
        for number, speed in self._speeds(sessions).items():
            self.all[number].speed = speed
        return trials

    def _speeds(self, sessions: Mapping[int, Any]) -> dict[int, dict[int, float]]:
        """How many times as fast as float32 each session is, by batch size."""
        runs = dict[tuple[int | None, int], Callable[[], object]]()
        for number, session in ((None, self._float), *sessions.items()):
            for size in TIMED_BATCH_SIZES:
                images = np.resize(self._wanted.images, (size, *self._wanted.images.shape[1:]))
                runs[number, size] = partial(session.run, [LOGITS], {session.get_inputs()[0].name: images})
        seconds = shortest_seconds(runs)
        return {
            number: {size: seconds[None, size] / seconds[number, size] for size in TIMED_BATCH_SIZES}
            for number in sessions
        }

    def _by_sensitivity(self, scheme: Scheme, images: NDArray[np.float32]) -> list[str]:
        """The layers, the one first that changes the logits most where it alone is quantised."""
        expected = self._float.run([LOGITS], {self._float.get_inputs()[0].name: images})[0]
        errors = dict[str, float]()
        for layer in self._quantizer.layers:
            path = self._folder / "one_layer.onnx"
            self._quantizer.quantize(scheme, set(self._quantizer.layers) - {layer}, path)
            session = open_session(path, self._num_threads)
            found = session.run([LOGITS], {session.get_inputs()[0].name: images})[0]
            errors[layer] = float(np.square(found - expected).mean())
        return sorted(errors, key=lambda layer: -errors[layer])


def choose(trials: Sequence[Trial], settings: ExportSettings) -> tuple[Trial | None, str]:
    """Takes the fastest accurate way, of equally fast ones the first, and gives each its verdict.

    Returns:
        The one taken, None where none is accurate and fast enough; and the reason why there is none.
    """
    accurate = [trial for trial in trials if trial.is_accurate]
    fastest = max((trial.speedup for trial in accurate), default=0.0)
    best = next((trial for trial in accurate if trial.speedup * _EQUALLY_FAST >= fastest), None)
    is_worth_it = best is not None and best.speedup >= settings.min_speedup
    for trial in trials:
        if trial.error is not None:
            trial.verdict = "does not run"
        elif not trial.is_accurate:
            trial.verdict = "loses too much"
        elif trial is best and is_worth_it:
            trial.verdict = "taken"
        else:
            trial.verdict = "not clearly faster" if is_worth_it else "too slow"
    return (best, "") if is_worth_it else (None, _why_none(trials, best, settings))


def worth_repairing(trials: Sequence[Trial], settings: ExportSettings) -> Scheme | None:
    """The fastest scheme whose only fault is that it loses too much; None: there is none."""
    fast = [trial for trial in trials if trial.figures and not trial.is_accurate]
    best = max(fast, key=lambda trial: trial.speedup, default=None)
    return None if best is None or best.speedup < settings.min_speedup else best.scheme


def _why_none(trials: Sequence[Trial], best: Trial | None, settings: ExportSettings) -> str:
    if best is not None:
        return (
            f"int8 is not worth it on this CPU: the fastest accurate way, {best.name}, is {best.speedup:.2f} times as"
            f" fast as float32, less than export.min_speedup={settings.min_speedup:g}; use model.onnx, or set"
            " export.min_speedup=0 for the sake of the size"
        )
    measured = [trial for trial in trials if trial.figures]
    if not measured:
        return f"onnxruntime runs no int8 file of this model: {trials[0].error}"
    closest = min(measured, key=lambda trial: float(trial.figures.get("points_lost", 100)))
    return f"no int8 file is accurate enough; the closest, {closest.name}: {closest.figures['reason']}; use model.onnx"


def shortest_seconds(runs: Mapping[Any, Callable[[], object]]) -> dict[Any, float]:
    """The shortest of several runs of each function, in turns: what disturbs this machine disturbs all alike."""
    shortest = dict.fromkeys(runs, math.inf)
    begin = time.perf_counter()
    for number in range(_ROUNDS[1]):
        if number >= _ROUNDS[0] and time.perf_counter() - begin > _SECONDS:
            break
        for key, run in runs.items():
            run()  # wakes the threads, and evicts what the others left in the caches
            start = time.perf_counter()
            run()
            shortest[key] = min(shortest[key], time.perf_counter() - start)
    return shortest
