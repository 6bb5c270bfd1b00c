from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

from tests.helpers.clock import Clock, Ticking
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model, make_trainer

from classifier_training.callbacks.accuracy_forecast import AccuracyForecast, forecast_from_probe
from classifier_training.callbacks.progress import TrainingProgress
from classifier_training.callbacks.throughput import Throughput
from classifier_training.callbacks.time_limit import TimeLimit
from classifier_training.run.time_budget import Costs, TimeBudget
from classifier_training.terminal.terminal import Terminal

pytestmark = LIGHTNING_NOTICES


def test_each_epoch_has_a_forecast_on_its_line_and_in_the_timings(tmp_path: Path, capsys: Any) -> None:
    clock = Clock()
    budget = TimeBudget(40.0, 0.0, clock, Costs(step=1.0, num_batches=4, validation=2.0))
    forecast = AccuracyForecast(budget)
    throughput = Throughput(tmp_path / "timings.csv", forecast)
    progress = TrainingProgress(Terminal(), throughput, budget, forecast)
    callbacks = [TimeLimit(budget, is_only_end=True, now=clock), forecast, throughput, progress, Ticking(clock)]
    trainer = make_trainer(tmp_path, *callbacks, max_epochs=20)
    trainer.fit(make_model(), make_loader(4), make_loader(2))

    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    rows = list(csv.DictReader((tmp_path / "timings.csv").read_text(encoding="utf-8").splitlines()))
    assert len(lines) == len(rows) == trainer.current_epoch > 3
    for line, row in zip(lines, rows, strict=True):
        low, value, high = (float(row[name]) for name in ("forecast_low", "forecast", "forecast_high"))
        assert low <= value <= high
        assert f"at the end about {value:.0%} ({low:.0%} to {high:.0%})" in line
    first, last = (float(row["forecast_high"]) - float(row["forecast_low"]) for row in (rows[0], rows[-1]))
    assert last < first
    assert float(rows[-1]["forecast"]) < max(forecast.state_dict()["top1"]) + 0.05  # nothing is left to come


def test_before_the_first_epoch_the_probe_tells_what_is_to_be_expected() -> None:
    clock = Clock()
    budget = TimeBudget(600.0, 0.0, clock, Costs(step=1.0, num_batches=20, validation=1.0))
    clock.seconds = 40.0
    _, line = forecast_from_probe(budget, None, 400, 0.85)
    assert re.fullmatch(
        r"forecast: val/top1 about \d+% \(\d+% to \d+%\) at the end, because the probe has 85% after 40 s, about 27"
        r" epochs fit, and one takes about 21 s",
        line,
    )
    assert budget.state()["probe"] == 0.85
    assert "about 3 epochs fit" in forecast_from_probe(budget, 3, 400, 0.85)[1]
