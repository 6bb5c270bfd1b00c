"""Configuration files: plain YAML, read by the schema's types and written so that every value comes back."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from classifier_training.config.explain import Setting, fault, unknown_key
from classifier_training.config.options import option_table, section_names
from classifier_training.config.schema import Config
from classifier_training.config.values import (
    UnreadableValueError,
    compose_yaml,
    from_node,
    mapping_items,
    show_node,
)
from classifier_training.files.nearest import did_you_mean

# Written without quotes only if no YAML reader, of version 1.1, 1.2 or OmegaConf's, takes it for anything but text.
_PLAIN_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_./-]*")
_NOT_TEXT = frozenset({"null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity"})


@dataclass(slots=True)
class FileContent:
    """What a configuration file says.

    Attributes:
        settings: What it sets, in its order.
        faults: One line for each fault.
    """

    settings: list[Setting] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_file(path: Path) -> FileContent:
    """Reads a configuration file; whatever is wrong with it is among the faults, not raised."""
    try:
        root = compose_yaml(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        return FileContent(faults=[f"{path}: there is no such configuration file{did_you_mean(path)}"])
    except OSError as error:
        return FileContent(faults=[f"{path}: cannot read the configuration file: {error.strerror}"])
    except UnicodeDecodeError:
        return FileContent(faults=[f"{path}: the configuration file is not UTF-8 text"])
    except UnreadableValueError as error:
        return FileContent(faults=[_located(path, error)])
    if not isinstance(root, yaml.MappingNode):
        found = "empty" if root is None else "a list" if isinstance(root, yaml.SequenceNode) else "one plain value"
        hint = "it must hold sections with settings, such as data: {batch_size: 64}"
        return FileContent(faults=[f"{path}: the configuration file is {found}; {hint}"])
    content = FileContent()
    _read_mapping(root, "", path, content)
    return content


def to_yaml(config: Config) -> str:
    """A configuration as YAML, all settings in the order of the schema; `load_config` reads it back equal."""
    values = config.model_dump(mode="json")
    # Without a width, a long text would be folded, and a reader of another kind may unfold it differently.
    return yaml.dump(values, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=10**9)


def _read_mapping(node: yaml.MappingNode, prefix: str, path: Path, content: FileContent) -> None:
    try:
        items = mapping_items(node)
    except UnreadableValueError as error:
        content.faults.append(_located(path, error))
        return
    for name, value in items:
        _read_item(prefix + name, value, path, content)


def _read_item(key: str, node: yaml.Node, path: Path, content: FileContent) -> None:
    origin = f"{path}:{node.start_mark.line + 1}"
    if key in option_table():
        try:
            content.settings.append(Setting(key, from_node(node, option_table()[key]), origin, show_node(node)))
        except UnreadableValueError as error:
            content.faults.append(f"{_located(path, error)}, in {key}")
    elif key not in section_names():
        content.faults.append(unknown_key(key, _shown(node), origin))
    elif isinstance(node, yaml.MappingNode):
        _read_mapping(node, f"{key}.", path, content)
    elif from_node(node) is not None:  # an empty section, all of it commented out, sets nothing
        hint = f"; a preset is chosen on the command line: model={show_node(node)}" if key == "model" else ""
        content.faults.append(fault(f"{key}: {_shown(node)}", origin, f"{key} is a section and holds settings{hint}"))


def _shown(node: yaml.Node) -> str:
    try:
        return show_node(node)
    except UnreadableValueError:
        return "…"


def _located(path: Path, error: UnreadableValueError) -> str:
    place = f"{path}:{error.line}" if error.line else str(path)
    return f"{place}: the configuration file {error.message}"


class _PlainDumper(yaml.SafeDumper):
    """Writes text in quotes unless nothing could take it for a number, a date or a truth value."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the argument is SafeDumper's
        """A value that stands in two places is written twice, since anchors are refused when reading."""
        return True


def _represent_text(dumper: _PlainDumper, text: str) -> yaml.ScalarNode:
    is_plain = _PLAIN_TEXT.fullmatch(text) is not None and text.lower() not in _NOT_TEXT
    style = None if is_plain else "'" if text.isprintable() else '"'  # only double quotes keep a line break as it is
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _represent_list(dumper: _PlainDumper, items: list[object]) -> yaml.SequenceNode:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=True)


_PlainDumper.add_representer(str, _represent_text)
_PlainDumper.add_representer(list, _represent_list)
