"""How well the accuracy at the end of a training is forecast: a simulation on the stored learning curves.

    python benchmarks/forecast.py

Every stored training is run again from its numbers, epoch by epoch, and forecast by a model that was fitted to the
trainings of other kinds alone: another data set, number of images, classes or epochs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from classifier_training.metrics.forecast import Curve, ForecastModel, stored_curves


def simulate(curves: Sequence[Curve]) -> list[tuple[Curve, int, float, bool]]:
    """Every forecast: of which training, after how many epochs, by how much it is wrong, whether its interval holds."""
    forecasts = []
    for kind in sorted({curve.kind for curve in curves}):
        model = ForecastModel([curve for curve in curves if curve.kind != kind])
        for curve in (one for one in curves if one.kind == kind):
            for epoch in range(0 if curve.probe is not None else 1, len(curve.top1)):
                found = model.forecast(curve.until(epoch))
                holds = found.low - 1e-9 <= curve.final <= found.high + 1e-9
                forecasts.append((curve, epoch, found.value - curve.final, holds))
    return forecasts


def main() -> None:
    """Prints the figures."""
    curves = stored_curves()
    forecasts = simulate(curves)
    parts = {
        "before the first epoch, from the probe": [one for one in forecasts if one[1] == 0],
        "up to a quarter of the epochs": [one for one in forecasts if 0 < one[1] / len(one[0].top1) <= 0.25],
        "a quarter to a half": [one for one in forecasts if 0.25 < one[1] / len(one[0].top1) <= 0.5],
        "a half to three quarters": [one for one in forecasts if 0.5 < one[1] / len(one[0].top1) <= 0.75],
        "after that": [one for one in forecasts if one[1] / len(one[0].top1) > 0.75],
        "all": forecasts,
    }
    print(f"{len(curves)} trainings of {len({curve.kind for curve in curves})} kinds")
    print(f"{'forecast':40} {'number':>6} {'mean error':>10} {'within 4 points':>15} {'interval holds':>14}")
    for name, some in parts.items():
        errors = [abs(error) for _, _, error, _ in some]
        within = sum(error <= 0.04 for error in errors) / len(errors)
        held = sum(holds for *_, holds in some) / len(some)
        print(f"{name:40} {len(some):6} {sum(errors) / len(errors):10.3f} {within:15.2f} {held:14.2f}")
    print()
    heads = ("before", "1 epoch", "3 epochs", "all")
    print(f"{'within 4 points, interval holds':51}" + "".join(f"{head:>13}" for head in heads))
    for name, is_one in GROUPS.items():
        some = [one for one in forecasts if is_one(one[0])]
        columns = [[one for one in some if epoch is None or one[1] == epoch] for epoch in (0, 1, 3, None)]
        print(f"{name:51}" + "".join(f"{describe(part):>13}" for part in columns))
        print(f"{'  if the expected accuracy were known':51} {ceiling([one for one in curves if is_one(one)]):.2f}")


GROUPS: dict[str, Callable[[Curve], bool]] = {
    "pretrained, with a probe": lambda curve: curve.probe is not None,
    "pretrained, without one": lambda curve: curve.probe is None and "pretrained" in curve.kind,
    "from random weights": lambda curve: "scratch" in curve.kind,
}


def describe(forecasts: Sequence[tuple[Curve, int, float, bool]]) -> str:
    """Shares of forecasts that are within 4 points, and whose interval holds."""
    if not forecasts:
        return "-"
    within, held = ([abs(error) <= 0.04 for _, _, error, _ in forecasts], [holds for *_, holds in forecasts])
    return f"{sum(within) / len(within):.2f} {sum(held) / len(held):.2f}"


def ceiling(curves: Sequence[Curve]) -> float:
    """How often a forecast that knows the expected accuracy is within 4 points of what the validation photos show."""
    shares = []
    for curve in curves:
        share = min(curve.final, 1 - 0.5 / curve.val_images)
        error = math.sqrt(share * (1 - share) / curve.val_images)
        shares.append(math.erf(0.04 / error / math.sqrt(2)))
    return sum(shares) / len(shares)


if __name__ == "__main__":
    main()
