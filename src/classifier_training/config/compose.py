"""From files, presets and overrides to one valid configuration, or to a list of all that is wrong.

Later wins: the schema's defaults < a configuration file < presets, in the order of `PRESET_GROUPS` < overrides. A
preset that was chosen automatically takes the place of one that was given, except that the file wins over it. Every
value is merged together with its origin, which messages name.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from classifier_training.config.arguments import read_overrides
from classifier_training.config.explain import check
from classifier_training.config.files import read_file, to_yaml
from classifier_training.config.overrides import Override, OverrideLike, Overrides
from classifier_training.config.preset_groups import PRESET_GROUPS, preset_file
from classifier_training.config.schema import Config
from classifier_training.errors import ConfigError

__all__ = ["load_config", "to_yaml"]

AUTO: Final = "auto"
_CHOSEN: Final = "chosen automatically"


def load_config(
    overrides: OverrideLike = (), *, file: str | Path | None = None, chosen: Mapping[str, object] | None = None
) -> Config:
    """Composes and validates a configuration.

    Args:
        overrides: Settings such as ``data.batch_size=64``, and ``model=resnet50`` for a preset. Of two for one setting
            the last wins.
        file: A YAML file with settings, such as the ``config.yaml`` of an earlier run; None for none.
        chosen: What was chosen for what is left automatic: presets by group, and settings, over which all that is
            given wins.

    Raises:
        ConfigError: Anything is wrong; one line for each fault.

    Example:
        >>> load_config(["model=resnet50", "data.batch_size=64"]).data.batch_size
        64
    """
    merged, faults = compose(overrides, file, chosen)
    config, invalid = check(merged)
    if config is None or faults or invalid:
        raise ConfigError("\n".join([*faults, *invalid]))
    return config


def compose(
    overrides: OverrideLike, file: str | Path | None, chosen: Mapping[str, object] | None = None
) -> tuple[dict[str, Override], tuple[str, ...]]:
    """The settings that win, by their key, and what is wrong with the form of those that were given."""
    given = read_overrides(overrides)
    from_file = Overrides() if file is None else read_file(Path(file))
    chosen = chosen or {}
    names = [(f"{group}.name", chosen.get(f"{group}.name", chosen.get(group))) for group in PRESET_GROUPS]
    decided = Overrides(tuple(Override(key, name, _CHOSEN) for key, name in names if name is not None))
    everything = read_overrides(*_layers(given, from_file, chosen), given, decided)
    return _merge(everything.settings), everything.faults


def _layers(given: Overrides, from_file: Overrides, chosen: Mapping[str, object]) -> list[Overrides]:
    """The settings below those that are typed, the weakest first."""
    in_file = {one.key for one in from_file.settings}
    layers = [Overrides(tuple(Override(*item, _CHOSEN) for item in chosen.items() if item[0] not in PRESET_GROUPS))]
    layers.append(from_file)
    for group in PRESET_GROUPS:
        preset = given.last(group)
        if preset is not None and preset.value != AUTO:
            layers.append(read_preset(group, str(preset.value)))
        elif group in chosen:
            layers.append(read_preset(group, str(chosen[group])).only(lambda key: key not in in_file))
    return layers


def read_preset(group: str, name: str) -> Overrides:
    """The settings of a packaged preset."""
    return read_file(preset_file(group, name), f"preset {group}={name}")


def _merge(settings: Iterable[Override]) -> dict[str, Override]:
    """The last value of each setting; one class's weight is put into the weights given before it."""
    merged: dict[str, Override] = {}
    for setting in settings:
        if setting.entry is not None:
            earlier = merged[setting.key].value if setting.key in merged else None
            value = {**(earlier if isinstance(earlier, dict) else {}), setting.entry: setting.value}
            setting = Override(setting.key, value, setting.origin)
        if setting.key not in PRESET_GROUPS:
            merged[setting.key] = setting
    return merged
