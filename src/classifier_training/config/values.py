"""How a written value becomes a Python value: by the setting's type, so that text stays text.

``run.name=1e3`` is the name "1e3" and ``optimizer.lr=1e-3`` is a number, because the schema says which of the two
is text. The command line and YAML files share these rules, and nothing written is ever run or looked up: there
are no tags, no anchors and no ``${…}``.
"""

from __future__ import annotations

import re

import yaml

from classifier_training.config.options import Option, show_value

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
# Eighteen digits fit into 64 bits; a longer row of digits stays text, which no number setting accepts.
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9_]{0,17})")
# A configuration is three levels deep; without a limit, brackets alone could exhaust the interpreter's stack.
_DEEPEST = 16
_FLOAT = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


class UnreadableValueError(ValueError):
    """A value that is not YAML, or YAML of a kind that a configuration may not hold. Never leaves this package."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message, line)
        self.message = message
        self.line = line


def read_typed(text: str, option: Option) -> object:
    """Reads a value of a setting from the command line.

    Returns:
        The exact text for a text setting (None for ``null`` where null is allowed), else a number, truth value,
        list or mapping; still to be validated.

    Raises:
        UnreadableValueError: The text of a list or mapping is broken.
    """
    if option.is_text:
        return None if option.is_optional and text == "null" else text
    if (option.is_sequence or option.is_mapping) and text.lstrip()[:1] in {"[", "{"}:
        node = compose_yaml(text)
        return None if node is None else from_node(node, option, tight=True)
    return _plain_scalar(text.strip())


def compose_yaml(text: str) -> yaml.Node | None:
    """The nodes of one YAML document, with the text of every scalar as it was written; None when it is empty.

    Raises:
        UnreadableValueError: It is not YAML, is several documents, or has tags or anchors.
    """
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            _refuse_references(event)
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise UnreadableValueError("is nested too deeply")
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = error.problem or error.context or "broken"
        raise UnreadableValueError(f"is not valid YAML: {problem}", mark.line + 1 if mark else None) from None
    except yaml.YAMLError as error:
        raise UnreadableValueError(f"is not valid YAML: {str(error).splitlines()[0]}") from None


def from_node(node: yaml.Node, option: Option | None = None, *, tight: bool = False) -> object:
    """The value of a YAML node.

    Args:
        node: From `compose_yaml`.
        option: The setting that it is for; None for an item of a list or mapping.
        tight: Read ``{shirt:2}`` too, as people type it, although YAML wants a space after the colon.

    Raises:
        UnreadableValueError: A mapping has one key twice, or a key that is not text.
    """
    if isinstance(node, yaml.SequenceNode):
        return [from_node(item) for item in node.value]
    if isinstance(node, yaml.MappingNode):
        return {key: from_node(value) for key, value in mapping_items(node, tight=tight)}
    text = str(node.value)
    if isinstance(node, yaml.ScalarNode) and node.style is not None:
        return text
    if option is not None and option.is_text:
        return None if text in _NULLS else text
    return _plain_scalar(text)


def mapping_items(node: yaml.MappingNode, *, tight: bool = False) -> list[tuple[str, yaml.Node]]:
    """The entries of a mapping, every key as it was written.

    Raises:
        UnreadableValueError: A key occurs twice, or is not text.
    """
    items: dict[str, yaml.Node] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise UnreadableValueError("has a key that is not text", line)
        key, value = str(key_node.value), value_node
        if tight and key_node.style is None and ":" in key and value_node.value == "":
            key, _, number = key.rpartition(":")
            value = yaml.ScalarNode(value_node.tag, number, key_node.start_mark, key_node.end_mark)
        if key in items:
            raise UnreadableValueError(f"has {key!r} twice", line)
        items[key] = value
    return list(items.items())


def show_node(node: yaml.Node) -> str:
    """A node for a message: a scalar as it was written, quotes included, a list or mapping in one line."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value) if node.style is not None else str(node.value) or "null"
    return show_value(from_node(node))


def _plain_scalar(text: str) -> bool | int | float | str | None:
    if text in _NULLS:
        return None
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if _INT.fullmatch(text):
        return int(text.replace("_", ""))
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


def _refuse_references(event: yaml.Event) -> None:
    line = event.start_mark.line + 1 if event.start_mark else None
    tag = getattr(event, "tag", None)
    if tag is not None:
        raise UnreadableValueError(f"has the tag {tag}; a configuration is plain data without tags", line)
    if getattr(event, "anchor", None) is not None:
        raise UnreadableValueError("has an anchor or alias (& or *); a configuration is plain data without them", line)
