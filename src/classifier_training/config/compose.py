"""From files, presets and overrides to one valid configuration, or to a list of all that is wrong.

Later wins: the schema's defaults < a configuration file < presets, in the order of `PRESET_GROUPS` < overrides. Every
value is merged together with its origin, which messages name.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from classifier_training.config.arguments import read_overrides
from classifier_training.config.explain import check
from classifier_training.config.files import read_file, to_yaml
from classifier_training.config.overrides import Override, OverrideLike, Overrides
from classifier_training.config.preset_groups import PRESET_GROUPS, preset_file
from classifier_training.config.schema import Config
from classifier_training.errors import ConfigError

__all__ = ["load_config", "to_yaml"]


def load_config(overrides: OverrideLike = (), *, file: str | Path | None = None) -> Config:
    """Composes and validates a configuration.

    Args:
        overrides: Settings such as ``data.batch_size=64``, and ``model=resnet50`` for a preset. Of two for one setting
            the last wins.
        file: A YAML file with settings, such as the ``config.yaml`` of an earlier run; None for none.

    Raises:
        ConfigError: Anything is wrong; one line for each fault.

    Example:
        >>> load_config(["model=resnet50", "data.batch_size=64"]).data.batch_size
        64
    """
    given = read_overrides(overrides)
    layers = [] if file is None else [read_file(Path(file))]
    layers += [read_preset(group, str(chosen.value)) for group in PRESET_GROUPS if (chosen := given.last(group))]
    everything = read_overrides(*layers, given)
    config, invalid = check(_merge(everything.settings))
    faults = [*everything.faults, *invalid]
    if config is None or faults:
        raise ConfigError("\n".join(faults))
    return config


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
