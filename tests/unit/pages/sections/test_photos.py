from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.helpers.markup import read_markup
from tests.helpers.page_data import make_run, make_statistics

from classifier_training.pages.sections.photos import MANY_CLASSES, photos_section
from classifier_training.run.sampler_distribution import SamplerDistribution
from classifier_training.run.statistics import BadFile, Histogram, Spread, Statistics


def cats_and_dogs(**changes: Any) -> Statistics:
    values: dict[str, Any] = {
        "num_images": 68,
        "classes": ("cat", "dog"),
        "counts": {"train": (40, 10), "val": (10, 0), "test": (4, 4)},
        "imbalance_ratio": 4.0,
        "width": Spread(10, 30, 1000),
        "histograms": {"width": Histogram((10, 100, 1000), (50, 18))},
        "modes": {"RGB": 60, "L": 8},
        "bad": (BadFile("a\nb.jpg", "truncated"),),
    }
    return make_statistics(**(values | changes))


def sampled(*epochs: tuple[int, int]) -> SamplerDistribution:
    return SamplerDistribution(("cat", "dog"), tuple(range(len(epochs))), np.array([40, 10]), np.array(epochs))


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_counts_and_imbalance_are_in_the_lead() -> None:
    section = photos_section(make_run(statistics=cats_and_dogs()))

    assert plain(section.lead) == (
        "68 photos of 2 classes: 50 for training, 10 for validation, 8 for test. The largest class has 4 times as many"
        " training photos as the smallest."
    )
    assert section.values["totals"] == {"train": 50, "val": 10, "test": 8}
    assert section.values["bad"] == [("a␣b.jpg", "truncated")]


def test_classes_of_the_same_size_are_reported() -> None:
    assert "about the same size" in photos_section(make_run(statistics=cats_and_dogs(imbalance_ratio=1.2))).lead


def test_sampled_photos_are_a_mean_over_epochs() -> None:
    section = photos_section(make_run(statistics=cats_and_dogs(), sampler=sampled((20, 30), (30, 20))))
    cat, dog = section.values["rows"]

    assert (cat["sampled"], cat["repeats"]) == (25, 0.625)
    assert (dog["sampled"], dog["repeats"]) == (25, 2.5)
    assert read_markup(cat["bar"]).only("rect", "upper").share("width") == 1
    assert read_markup(cat["bar"]).only("rect", "lower").share("width") == 0.625
    assert section.values["total_sampled"] == 50
    assert "Each photo is sampled between 0.62 and 2.5 times per epoch" in section.lead


def test_a_sampler_that_changes_nothing_is_reported() -> None:
    section = photos_section(make_run(statistics=cats_and_dogs(), sampler=sampled((40, 10))))

    assert section.lead.endswith("The classes are sampled as often as the data contains them.")


def test_sampled_photos_are_shown_without_statistics() -> None:
    rows = photos_section(make_run(sampler=sampled((20, 30)))).values["rows"]

    assert [(row["name"], row["held"], row["sampled"]) for row in rows] == [("cat", 40, 20), ("dog", 10, 30)]


def test_a_class_without_training_photos_has_no_repeats() -> None:
    sampler = SamplerDistribution(("cat", "dog"), (0,), np.array([40, 0]), np.array([[40, 0]]))
    statistics = cats_and_dogs(counts={"train": (40, 0)}, imbalance_ratio=None)

    rows = photos_section(make_run(statistics=statistics, sampler=sampler)).values["rows"]

    assert [row["repeats"] for row in rows] == [1, None]


def test_bins_of_a_histogram_are_of_equal_width() -> None:
    (histogram,) = photos_section(make_run(statistics=cats_and_dogs())).values["histograms"]
    drawn = read_markup(histogram["svg"])

    assert [round(one.share("width"), 3) for one in drawn.all("rect")] == [0.42, 0.42]
    assert {"10", "100", "1,000"} <= {one.text for one in drawn.all("text")}


@pytest.mark.parametrize(("num_classes", "has_chart"), [(MANY_CLASSES, False), (MANY_CLASSES + 1, True)])
def test_many_classes_are_a_chart_from_large_to_small(num_classes: int, has_chart: bool) -> None:
    statistics = cats_and_dogs(
        classes=tuple(f"class {number}" for number in range(num_classes)),
        counts={"train": tuple(range(1, num_classes + 1))},
    )
    chart = photos_section(make_run(statistics=statistics)).values["class_chart"]

    assert (chart is not None) is has_chart
    if chart is not None:
        heights = [one.share("height") for one in read_markup(chart).all("rect")]
        assert heights == sorted(heights, reverse=True)


def test_an_empty_section_has_a_reason() -> None:
    assert "data/statistics.json" in (photos_section(make_run()).empty or "")
