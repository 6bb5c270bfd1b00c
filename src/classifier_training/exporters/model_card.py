"""``model_card.md`` and ``model_card.json``: what is known of a model, beside its exported files, ready for a hub."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from classifier_training.exporters.card_data import FIELDS, card_data, read_filled_in
from classifier_training.files.atomic import write_json, write_text
from classifier_training.metrics.score_names import SCORE_TITLES
from classifier_training.pages.charts.svg import one_line
from classifier_training.pages.wording import DASH, decimal, large_number, percentage
from classifier_training.run.folder import ExportFolder, RunFolder
from classifier_training.warn import warn_instead_of_raise

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]()#!|~$^:@])")
_LICENCE_ID: Final = re.compile(r"[a-z0-9][a-z0-9.-]*")
_HUB_METRICS: Final = {"top1": "accuracy", "macro_f1": "f1"}
"""The names by which the hub knows our scores; others keep their own."""


def write_model_card(run: RunFolder, filled_in: Mapping[str, Any]) -> list[str]:
    """Writes the card of a run into its ``export/``, in three files: JSON, Markdown, and the hub's ``README.md``.

    Args:
        run: Its folder.
        filled_in: What a person wrote, from `read_filled_in`.

    Returns:
        The names of files that were changed by hand since they were written, and are left as they are.
    """
    folder = ExportFolder(run.export)
    content = card_data(run, filled_in)
    text = render_card(content)
    changed = [path for path in (folder.card, folder.readme) if path.exists() and not _is_ours(path.read_bytes())]
    for path in (folder.card, folder.readme):
        if path not in changed:
            write_text(path, text)
    write_json(folder.card_data, content)
    return [path.name for path in changed]


@contextlib.contextmanager
def card_kept_current(run: RunFolder) -> Iterator[None]:
    """Writes the card of a run again, where it has one, once its exported files have been replaced or removed."""
    try:
        yield
    finally:
        if run.card_data.is_file():
            with warn_instead_of_raise(str(run.card)):
                write_model_card(run, read_filled_in(run.card_data))


def render_card(content: Mapping[str, Any]) -> str:
    """The card as Markdown, with the front matter that the Hugging Face hub reads."""
    text = (
        _environment()
        .get_template("model_card.md.j2")
        .render(
            card=content,
            scores=content["scores"],
            front_matter=Markup(_front_matter(content)),  # noqa: S704 - YAML, whose writer has quoted what needs it
            titles=FIELDS,
            score_titles=SCORE_TITLES,
            interval=_interval,
            other_thresholds=_other_thresholds(content),
            percentage=percentage,
            decimal=decimal,
            large_number=large_number,
        )
    )
    return f"{text}{_seal(text)}\n"


def escape_markdown(value: object) -> object:
    """Text of which Markdown shows every letter: no markup, no HTML, no link, no line break."""
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    line = _SPECIAL.sub(r"\\\1", one_line(value))
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


@cache
def _environment() -> Environment:
    return Environment(  # noqa: S701 - Markdown: every value is escaped by `finalize`
        loader=PackageLoader("classifier_training.exporters"),
        undefined=StrictUndefined,
        finalize=escape_markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _front_matter(content: Mapping[str, Any]) -> str:
    """YAML by the names of the hub; a licence that is none of its short names is its ``other``."""
    has_weights = "model.safetensors" in content["hashes"]["files"]
    library = "timm" if has_weights else "onnx"
    values: dict[str, Any] = {
        "library_name": library,
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", library, "classifier-training"],
        **_licence(content["fill_in"].get("license")),
    }
    scores = content["scores"]
    if scores is not None:
        metrics = [
            {"type": _HUB_METRICS.get(name, name), "name": SCORE_TITLES[name], "value": one["value"]}
            for name, one in scores["metrics"].items()
        ]
        dataset = {"type": "imagefolder", "name": "the photos of the run", "split": scores["split"] or "test"}
        task = {"type": "image-classification", "name": "Image classification"}
        results = [{"task": task, "dataset": dataset, "metrics": metrics}]
        values["model-index"] = [{"name": one_line(content["name"]), "results": results}]
    return str(yaml.safe_dump(values, allow_unicode=True, sort_keys=False, width=1000))


def _licence(text: str | None) -> dict[str, str]:
    if not text or not text.strip():
        return {"license": "unknown"}
    if _LICENCE_ID.fullmatch(text.strip()):
        return {"license": text.strip()}
    return {"license": "other", "license_name": re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "other"}


def _interval(ends: tuple[float, float] | None) -> str:
    return DASH if ends is None else f"{percentage(ends[0])} to {percentage(ends[1])}"


def _other_thresholds(content: Mapping[str, Any]) -> list[str]:
    """What files decide otherwise than by the thresholds of the run, a sentence each."""
    of_run, sentences = content["calibration"]["decision"], list[str]()
    for form, one in content["verification"].items():
        abstain, sets = one["abstain_threshold"], one["set_threshold"]
        if of_run is None or (abstain, sets) == (of_run["abstain_threshold"], of_run["set_threshold"]):
            continue
        answers = "it never abstains" if abstain is None else f"it answers from a confidence of {decimal(abstain)} on"
        classes = "no prediction sets" if sets is None else f"prediction sets from a probability of {decimal(sets)} on"
        sentences.append(f"The form {form} has other thresholds than those above: {answers}, {classes}.")
    return sentences


def _seal(text: str) -> str:
    """The last line: by it a card that nobody has changed is known."""
    digest = hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
    return f"<!-- written by classifier-training; unchanged while this is its hash: {digest} -->"


def _is_ours(content: bytes) -> bool:
    """Whether a card is as this program wrote it."""
    text, mark, _ = content.decode("utf-8", "replace").replace("\r\n", "\n").rpartition("<!-- written by")
    return bool(mark) and content.decode("utf-8", "replace").replace("\r\n", "\n").strip() == f"{text}{_seal(text)}"
