"""Commands and flags that do not exist here: one line with the exact words to type instead."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Sequence
from typing import Any, Final

from classifier_training.cli.arguments import read_settings
from classifier_training.config.foreign_names import PHOTOS, takes_value, translate
from classifier_training.config.options import option_table
from classifier_training.errors import ConfigError

PROGRAM: Final = "classifier-training"
COMMANDS: Final = {
    "benchmark": "evaluate RUN",
    "check": "train PHOTOS --dry-run",
    "classify": "predict RUN IMAGES",
    "continue": "train --resume RUN",
    "convert": "export RUN",
    "diff": "compare RUN RUN",
    "dry-run": "train PHOTOS --dry-run",
    "eval": "evaluate RUN",
    "finetune": "train PHOTOS model.pretrained=true",
    "fit": "train PHOTOS",
    "help": "--help",
    "infer": "predict RUN IMAGES",
    "inference": "predict RUN IMAGES",
    "options": "config options",
    "pack": "prepare PHOTOS --to shards",
    "plot": "report RUN",
    "resume": "train --resume RUN",
    "score": "evaluate RUN",
    "settings": "config options",
    "show": "config show",
    "test": "evaluate RUN --split test",
    "tune": "train PHOTOS optimizer.lr=3e-4",
    "val": "evaluate RUN --split val",
    "validate": "evaluate RUN --split val",
    "version": "--version",
}
"""What to type for a command of another trainer; the words in capitals stand for the user's own arguments."""
_PLACEHOLDERS: Final = re.compile(r"\b[A-Z]+( [A-Z]+)*\b")
_OPTIONAL: Final = re.compile(r" \[[^]]+\](\.\.\.)?|\.\.\.")  # as in ``RUN [PHOTOS] [KEY=VALUE]...``
_MODELS: Final = frozenset({"checkpoint", "ckpt", "model", "model_path", "run", "weights"})
_ALIKE: Final = 0.75  # how alike a mistyped option and the one that was meant are, from 0 to 1
_DEVICE_VARIABLE: Final = "CUDA_VISIBLE_DEVICES="


def explain_mistake(words: Sequence[str], complaint: str, program: Any) -> str:
    """The message for arguments that Typer refuses with a message of its own, the complaint."""
    command, path, rest = program, [PROGRAM], list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest[0]]
        path.append(rest.pop(0))
    answer = (_explain_command if hasattr(command, "commands") else _explain_flags)(path, rest, command)
    if answer is not None:
        return answer
    complaint = " ".join(complaint.replace("Value error, ", "").split()).rstrip(".")
    if not complaint:
        return ""  # the help was shown instead
    complaint = complaint[:1].lower() + complaint[1:]
    if not complaint.startswith("missing"):
        return f"{complaint}; see {shlex.join(path)} --help"
    options = [f"{param.opts[0]} {param.metavar}" for param in command.params if param.required and _is_option(param)]
    return _OPTIONAL.sub("", f"{complaint}; type: {' '.join([*path, *_metavars(command), *options])}")


def _explain_command(path: Sequence[str], words: Sequence[str], group: Any) -> str | None:
    """The command to type instead of one that does not exist."""
    names = [word for word in words if not word.startswith("-")]
    if words and words[0].startswith("-"):  # the first name may be the value of a flag, as in ``--epochs 5 train``
        names = [word for word in names if word in group.commands] or names
    name = names[0] if names else None
    if name is None:
        return None
    before, rest = list(words[: words.index(name)]), list(words[words.index(name) + 1 :])
    if name in group.commands:
        own = [*rest, *before]
        own = own if hasattr(group.commands[name], "commands") else _translate(own, group.commands[name])[0] or own
        return f"options come after the command; type: {shlex.join([*path, name, *own])}"
    foreign = COMMANDS if len(path) == 1 else {}
    near = difflib.get_close_matches(name.lower(), [*group.commands, *foreign], n=1)
    if name in {"classify", "detect", "segment"} and rest and rest[0] in group.commands:  # ``yolo classify train``
        instead = rest.pop(0)
    elif near:
        instead = str(foreign.get(near[0], near[0]))
    else:
        return f"there is no command {name}; the commands are {', '.join(group.list_commands(None))}"
    first = instead.split()[0]
    if first in group.commands and not hasattr(group.commands[first], "commands"):
        rest = _translate(rest, group.commands[first])[0]
    variables = [word for word in rest if word.startswith(_DEVICE_VARIABLE)]
    own = [word for word in rest if word not in variables]
    placeholders = _PLACEHOLDERS.search(instead)
    if placeholders and own:
        missing = placeholders[0].split()[: -len(own)]
        instead, own = instead.replace(placeholders[0], shlex.join([*missing, *own])), []
    elif instead in foreign.values():
        own = []  # a command without arguments
    return f"there is no command {name}; type: {' '.join(filter(None, [*variables, *path, instead, shlex.join(own)]))}"


def _explain_flags(path: Sequence[str], words: Sequence[str], command: Any) -> str | None:
    """The command to type instead of one with flags that do not exist; None if all of them do."""
    instead, replaced, unknown = _translate([word for word in words if word], command)
    if unknown is not None:
        own = list(_flags(command))
        near = difflib.get_close_matches(unknown, own, n=1, cutoff=_ALIKE)
        meant = f"did you mean {near[0]}?" if near else f"{path[-1]} takes {', '.join(own)}"
        example = "export.opset_version=18" if command.name == "export" else "trainer.max_epochs=20"
        settings = f" and settings, such as {example}" if _takes_settings(command) and not near else ""
        return f"there is no option {unknown}; {meant}{settings}"
    if not replaced:
        return None
    problem = f"there is no option {', '.join(replaced)}"
    variables = [word for word in instead if word.startswith(_DEVICE_VARIABLE)]
    instead = [word for word in instead if word not in variables]
    has_default = any(word == "--resume" or word.startswith("--config") for word in instead)
    has_photos = any("=" not in word and not word.startswith("-") for word in instead)
    if _arguments(command) == {"PHOTOS", "KEY", "VALUE"} and not (has_default or has_photos):
        instead.insert(0, "PHOTOS")
    from classifier_training.config import load_config

    try:
        load_config(read_settings([word for word in instead if word.partition("=")[0] in option_table()]))
    except ConfigError as error:
        return f"{problem}; settings are key=value: {str(error).splitlines()[0]}"
    return f"{problem}; type: {shlex.join([*variables, *path, *instead])}"


def _translate(words: Sequence[str], command: Any) -> tuple[list[str], list[str], str | None]:
    """Replaces the flags and assignments of other trainers in the arguments of a command.

    Returns:
        The arguments to type instead, the flags that were replaced, and the first flag that means nothing here.
    """
    own, arguments, rest = _flags(command), _arguments(command), list(words)
    num_paths = 0
    kept: list[str] = []
    photos: list[str] = []
    settings: list[str] = []
    replaced: list[str] = []
    while rest:
        word = rest.pop(0)
        flag, equals, value = word.partition("=")
        is_flag = word.startswith("-") and word != "-"
        if flag in own or not (is_flag or equals):
            kept += [word, rest.pop(0)] if own.get(flag) and not equals and rest else [word]
            num_paths += not is_flag
            continue
        foreign = flag.lstrip("-").lower().replace("-", "_")
        given = value if equals else _take_value(foreign, rest)
        is_typo = is_flag and difflib.get_close_matches(flag, own, cutoff=_ALIKE)
        translated = translate(foreign, given) if _takes_settings(command) and not is_typo else None
        if command.name == "export" and not all(one.startswith("export.") for one in translated or []):
            translated = None  # it takes no other settings
        if given and foreign in _MODELS and "RUN" in arguments:
            kept.insert(0, given)
        elif given and foreign in PHOTOS and arguments & {"PHOTOS", "IMAGES"}:
            photos.append(given)
        elif translated is None and is_flag:
            return [], [], flag
        else:
            settings += translated or [word]
        replaced += [flag] if is_flag else []
    num_taken = 100 if "IMAGES" in arguments else len(arguments & {"RUN", "PHOTOS"})
    if "--resume" in words or num_paths >= num_taken:
        photos = []  # the run knows its photos, or they are named already
    return [*kept, *photos, *settings], replaced, None


def _take_value(foreign: str, rest: list[str]) -> str | None:
    """Removes the value of a flag from the arguments behind it; None for a switch such as ``--pretrained``."""
    if not rest or (rest[0].startswith("-") and not re.fullmatch(r"-[\d.,]+", rest[0])):
        return None
    return rest.pop(0) if takes_value(foreign) or rest[0].lower() in {"true", "false"} else None


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _flags(command: Any) -> dict[str, bool]:
    """The options of a command, and whether they take a value."""
    options = [param for param in command.params if _is_option(param)]
    return {**{flag: not option.is_flag for option in options for flag in option.opts}, "--help": False, "-h": False}


def _metavars(command: Any) -> list[str]:
    """The arguments of a command as its help shows them."""
    return [param.metavar for param in command.params if not _is_option(param) and param.metavar]


def _arguments(command: Any) -> set[str]:
    """The words in capitals that stand for the arguments of a command."""
    return {word for metavar in _metavars(command) for word in re.findall("[A-Z]+", metavar)}


def _takes_settings(command: Any) -> bool:
    return "KEY" in _arguments(command)
