"""Which weights the run ended with, and what the other candidates scored."""

from __future__ import annotations

from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.read.run_data import RunData
from classifier_training.pages.section import Section
from classifier_training.pages.wording import percentage

KEY, TITLE = "weights", "Final weights"


def weights_section(data: RunData) -> Section:
    """The candidates for the final weights, by their validation loss."""
    choice = data.choice
    if choice is None:
        text = "They are those of the best epoch." if data.status == "finished" else "They are not known yet."
        return Section(KEY, TITLE, empty=text, is_of_training=True)
    rows = [
        (one_line(one.name), f"{one.loss:.4f}", percentage(one.top1), one.describe_difference())
        for one in choice.candidates
    ]
    lead = f"Chosen by the validation loss in float32: {one_line(choice.sentence())}."
    values = {"rows": rows, "left_out": one_line(choice.left_out) if choice.left_out else ""}
    return Section(KEY, TITLE, lead=lead, is_of_training=True, values=values)
