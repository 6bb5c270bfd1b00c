"""Configuration files: plain YAML, read by the schema's types and written so that every value comes back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from classifier_training.config.explain import fault, unknown_key
from classifier_training.config.options import option_table, section_names
from classifier_training.config.overrides import Override, Overrides
from classifier_training.config.preset_groups import PRESET_GROUPS
from classifier_training.config.schema import Config
from classifier_training.config.values import (
    UnreadableValueError,
    compose_yaml,
    from_node,
    mapping_items,
    show_node,
)
from classifier_training.files.text import did_you_mean, special_kind

# Written without quotes only if no YAML reader, of version 1.1 or 1.2, takes it for anything but text.
_PLAIN_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_TEXT = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"})


def read_file(path: Path, name: str | None = None) -> Overrides:
    """Reads a configuration file; anything wrong with it is among the faults, not raised.

    Args:
        path: The file.
        name: What messages call it, instead of its path with the line of a setting.
    """
    try:
        special = special_kind(path)
        if special is not None:
            return Overrides(faults=(f"{path}: cannot read the configuration file: {special}",))
        root = compose_yaml(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return Overrides(faults=(f"{path}: there is no such configuration file{did_you_mean(path)}",))
    except OSError as error:
        return Overrides(faults=(f"{path}: cannot read the configuration file: {error.strerror}",))
    except UnicodeDecodeError:
        return Overrides(faults=(f"{path}: the configuration file is not UTF-8 text",))
    except UnreadableValueError as error:
        return Overrides(faults=(_located(path, error),))
    if not isinstance(root, yaml.MappingNode):
        found = "empty" if root is None else "a list" if isinstance(root, yaml.SequenceNode) else "one plain value"
        hint = "it must hold sections with settings, such as data: {batch_size: 64}"
        return Overrides(faults=(f"{path}: the configuration file is {found}; {hint}",))
    return Overrides.of(_read_mapping(root, "", path, name))


def to_yaml(config: Config) -> str:
    """A configuration as YAML, all settings in the order of the schema; `load_config` reads it back equal."""
    values = config.model_dump(mode="json")
    # Without a width, a long text would be folded, and a reader of another kind may unfold it differently.
    return yaml.dump(values, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=10**9)


def _read_mapping(node: yaml.MappingNode, prefix: str, path: Path, name: str | None) -> Iterator[Override | str]:
    """Every setting of a mapping, or the line of its fault."""
    try:
        items = mapping_items(node)
    except UnreadableValueError as error:
        yield _located(path, error)
        return
    for key, value in items:
        yield from _read_item(prefix + key, value, path, name)


def _read_item(key: str, node: yaml.Node, path: Path, name: str | None) -> Iterator[Override | str]:
    origin = name or f"{path}:{node.start_mark.line + 1}"
    is_section, is_group = key in section_names(), key in PRESET_GROUPS
    if key in option_table():
        try:
            yield Override(key, from_node(node, option_table()[key]), origin, show_node(node))
        except UnreadableValueError as error:
            yield f"{_located(path, error)}, in {key}"
    elif is_section and isinstance(node, yaml.MappingNode):
        yield from _read_mapping(node, f"{key}.", path, name)
    elif not (is_section or is_group):
        yield unknown_key(key, _shown(node), origin)
    elif not isinstance(node, yaml.ScalarNode) or from_node(node) is not None:  # an empty section sets nothing
        what = f"{key} is a section and holds settings" if is_section else f"{key} is not a setting"
        hint = f"; a preset is chosen on the command line: {key}={_shown(node)}" if is_group else ""
        yield fault(f"{key}: {_shown(node)}", origin, f"{what}{hint}")


def _shown(node: yaml.Node) -> str:
    try:
        return show_node(node)
    except UnreadableValueError:
        return "…"


def _located(path: Path, error: UnreadableValueError) -> str:
    location = f"{path}:{error.line}" if error.line else str(path)
    return f"{location}: the configuration file {error.message}"


class _PlainDumper(yaml.SafeDumper):
    """Writes text in quotes unless nothing could take it for a number, a date or a truth value."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the argument is SafeDumper's
        """A value that occurs twice is written twice, since anchors are refused when reading."""
        return True


def _represent_text(dumper: _PlainDumper, text: str) -> yaml.ScalarNode:
    is_plain = _PLAIN_TEXT.fullmatch(text) is not None and text.lower() not in _NOT_TEXT
    style = None if is_plain else "'" if text.isprintable() else '"'  # only double quotes keep a line break as it is
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_PlainDumper.add_representer(str, _represent_text)
_PlainDumper.add_representer(
    list, lambda dumper, items: dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)
)
