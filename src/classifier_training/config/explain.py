"""Faults in a configuration, one line each: the setting, where it came from, what is allowed, the nearest name."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from classifier_training.config.contradictions import Contradiction
from classifier_training.config.foreign_names import SETTINGS, SWITCHES, setting_of, translate
from classifier_training.config.options import option_table, section_names, show_value
from classifier_training.config.overrides import Override
from classifier_training.config.preset_groups import PRESET_GROUPS, preset_names
from classifier_training.config.schema import Config
from classifier_training.config.section import CONFLICT, LENIENT
from classifier_training.config.values import UnreadableValueError, read_typed

_LONGEST_SHOWN = 80


def fault(subject: str, origin: str, message: str) -> str:
    """One line: what was written, where, and what is wrong with it."""
    return f"{_one_line(subject)} ({origin}): {_escaped(message)}"


def unknown_key(key: str, shown: str, origin: str) -> str:
    """The line for a setting that does not exist, with the names that were probably meant."""
    subject = f"{key}={shown}"
    translated = translate(key, shown) if "." not in key else None
    if translated is not None:
        problem = f"{key} is a section, not a setting" if key in section_names() else "no such setting"
        return fault(subject, origin, problem + _suggest(translated))
    if key in section_names():
        keys = [known for known in option_table() if known.startswith(f"{key}.")]
        likely = f"{key}.name" if f"{key}.name" in keys else keys[0]
        return fault(subject, origin, f"{key} is a section, not a setting; did you mean {likely}={shown}?")
    section, _, rest = key.partition(".")
    if rest and section not in section_names() and (sections := _closest(section, section_names())):
        return fault(subject, origin, f"no section {section}{_did_you_mean(nearest_keys(f'{sections[0]}.{rest}'))}")
    near = nearest_keys(key) or _closest(key, [*section_names(), *PRESET_GROUPS])
    hint = _did_you_mean(near) or "; `classifier-training config options` lists all"
    return fault(subject, origin, f"no such setting{hint}")


def unknown_preset(group: str, name: str, origin: str) -> str:
    """The line for ``group=name`` without such a preset."""
    names = preset_names(group)
    near = "".join(f" (nearest: {close})" for close in _closest(name, names))
    other = f"; a model that timm knows needs no preset: model.name={_one_line(name)}" if group == "model" else ""
    return fault(f"{group}={name}", origin, f"no such preset{near}; presets: {', '.join(names)}{other}")


def nearest_keys(key: str) -> list[str]:
    """Up to three settings that ``key`` probably means, the most likely first."""
    keys = list(option_table())
    leaf = key.rpartition(".")[2]
    same_leaf = [known for known in keys if known.rpartition(".")[2] == leaf]
    if same_leaf and "." in key:
        return sorted(same_leaf, key=lambda known: -_similarity(key, known))[:3]
    if leaf in SETTINGS or leaf in SWITCHES:
        return [str(setting_of(leaf))]
    if same_leaf:
        return sorted(same_leaf, key=lambda known: -_similarity(key, known))[:3]
    close = [known for known in keys if _similarity(key, known) >= 0.7]
    return sorted(close, key=lambda known: -_similarity(key, known))[:1]


def check(
    settings: Mapping[str, Override],
    find_more: Callable[[Config, Container[str]], Iterable[Contradiction]] | None = None,
) -> tuple[Config | None, list[str]]:
    """Validates merged settings by dotted key, all of the schema.

    Args:
        settings: The settings.
        find_more: Finds what contradicts each other over the sections, in a configuration without the settings whose
            keys it gets as well, as they are faulty; None: nothing does.

    Returns:
        The configuration and no lines, or None and one line for each fault, in the order of the schema.
    """
    lines, suspect = list[str](), set[str]()
    config = None
    try:
        config = Config.model_validate(_nested(settings))
    except ValidationError as error:
        wrong = [(key, detail) for detail in error.errors() if (key := _option_key(detail["loc"]))]
        # Pydantic reports each item of a list and each alternative of a union; one line covers them all.
        lines = list(dict.fromkeys(_explain_value(key, detail, settings[key]) for key, detail in wrong))
        suspect = {key for key, _ in wrong}
        lines += explain_all(_conflicts(settings, suspect), settings, suspect)
    if find_more is not None:
        readable = config or read_leniently(settings, suspect)
        lines += explain_all(find_more(readable, suspect), settings, suspect)
    return (None if lines else config), lines


def explain_all(
    found: Iterable[Contradiction], settings: Mapping[str, Override], suspect: Container[str] = ()
) -> list[str]:
    """A line for each contradiction, unless a faulty setting is involved, with the values and their origins."""
    return [
        ", ".join(_subject(key, settings) for key in dict.fromkeys(keys)) + f": {message}"
        for keys, message in found
        if not any(key in suspect for key in keys)
    ]


def read_leniently(settings: Mapping[str, Override], suspect: Container[str] = ()) -> Config:
    """A configuration from settings without the faulty ones, although others of a section contradict each other."""
    sound = {key: setting for key, setting in settings.items() if key not in suspect}
    return Config.model_validate(_nested(sound), context=LENIENT)


def _conflicts(settings: Mapping[str, Override], suspect: set[str]) -> list[Contradiction]:
    """Settings of one section that are valid on their own and contradict each other.

    Pydantic checks these only in a section without other faults. So the faulty settings are left out here.
    """
    try:
        Config.model_validate(_nested({key: setting for key, setting in settings.items() if key not in suspect}))
    except ValidationError as error:
        return [
            (tuple(f"{detail['loc'][0]}.{name}" for name in names), message)
            for detail in error.errors()
            if detail["type"] == CONFLICT
            for names, message in detail["ctx"]["conflicts"]
        ]
    return []


def _subject(key: str, settings: Mapping[str, Override]) -> str:
    if key in settings:
        return f"{_one_line(f'{key}={settings[key].shown}')} ({settings[key].origin})"
    return f"{key}={option_table()[key].default} (default)"


def _explain_value(key: str, detail: ErrorDetails, setting: Override) -> str:
    option = option_table()[key]
    subject = f"{key}={setting.shown}"
    if option.is_mapping and isinstance(setting.value, dict):
        subject = f"{key}.{detail['loc'][-1]}={show_value(detail['input'])}"
    if detail["type"] == "string_unicode":
        return fault(subject, setting.origin, "is not valid Unicode text; rename the file or folder")
    near = _did_you_mean(_closest(setting.shown, option.choices))
    return fault(subject, setting.origin, f"must be {option.allowed}{near}")


def _nested(settings: Mapping[str, Override]) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for key, setting in settings.items():
        section, _, name = key.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = setting.value
    return nested


def _option_key(loc: tuple[int | str, ...]) -> str | None:
    """The setting that a pydantic location lies in; None for a whole section."""
    candidates = (".".join(map(str, loc[:length])) for length in (1, 2))
    return next((key for key in candidates if key in option_table()), None)


def _similarity(key: str, known: str) -> float:
    """How similar two keys are, in [0, 1]; a key typed without its section is compared without it."""
    if "." not in key:
        known = known.rpartition(".")[2]
    return difflib.SequenceMatcher(None, key.lower(), known).ratio()


def _closest(name: str, known: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.6)


def _did_you_mean(names: list[str]) -> str:
    return f"; did you mean {' or '.join(names)}?" if names else ""


def _suggest(words: list[str]) -> str:
    """The words to type instead; where their value is not allowed, what is."""
    assignments = [word for word in words if not word.startswith("CUDA_VISIBLE_DEVICES=")]
    variables = [word for word in words if word not in assignments]
    choose = f" To choose the devices, put {variables[0]} before the command" if variables else ""
    for key, _, text in (word.partition("=") for word in assignments if word.partition("=")[0] not in PRESET_GROUPS):
        option = option_table()[key]
        try:
            is_allowed = check({key: Override(key, read_typed(text, option), "", text)})[0] is not None
        except UnreadableValueError:
            is_allowed = False
        if not is_allowed:
            return f"; did you mean {key}? It must be {option.allowed}"
    return f"; did you mean {shlex.join(assignments)}?{choose}"


def _one_line(text: str) -> str:
    """Text without line breaks or other control characters, and not too long to read."""
    plain = _escaped(text)
    return plain if len(plain) <= _LONGEST_SHOWN else f"{plain[: _LONGEST_SHOWN - 1]}…"


def _escaped(text: str) -> str:
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
