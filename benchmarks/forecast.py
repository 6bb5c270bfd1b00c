"""How well the accuracy at the end of a training is forecast: a simulation on the stored learning curves.

    python benchmarks/forecast.py

Every stored training is run again from its numbers, epoch by epoch, and forecast by a model that was fitted to the
trainings of other kinds alone: another data set, number of images, classes or epochs.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    pretrained = [one for one in forecasts if one[0].probe is not None]
    errors = [abs(error) for _, _, error, _ in pretrained]
    print(f"of pretrained weights with a probe: {sum(e <= 0.04 for e in errors) / len(errors):.2f} within 4 points")


if __name__ == "__main__":
    main()
