"""From files, presets and overrides to one valid configuration, or to a list of all that is wrong.

Later wins: the schema's defaults < a configuration file < a preset < ``key=value`` overrides. Hydra's compose API
puts a preset together (so a preset may build on others with a defaults list). Values are merged here, each with
where it came from, because a fault is told with its origin and because in Hydra's grammar ``run.name=007`` and
``data.root=/photos/a,b`` are not the text that was typed.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from classifier_training.config.explain import Setting, check, unknown_key
from classifier_training.config.files import FileContent, read_file, to_yaml
from classifier_training.config.options import PRESETS, option_table, section_names, show_value
from classifier_training.config.overrides import read_overrides
from classifier_training.config.schema import Config
from classifier_training.errors import ConfigError

__all__ = ["load_config", "to_yaml"]

_HYDRA_LOCK = threading.Lock()


def load_config(overrides: Sequence[str] = (), *, file: str | Path | None = None) -> Config:
    """Composes and validates a configuration.

    Args:
        overrides: Words such as ``data.batch_size=64``, and ``model=resnet50`` for a preset. Of two for one setting
            the last wins.
        file: A YAML file with settings, such as the ``config.yaml`` of an earlier run; None for none.

    Raises:
        ConfigError: Anything is wrong; one line for each fault.

    Example:
        >>> load_config(["model=resnet50", "data.batch_size=64"]).data.batch_size
        64
    """
    if isinstance(overrides, str):
        raise TypeError("overrides is a list of words, such as ['data.batch_size=64'], not one text")
    from_file = FileContent() if file is None else read_file(Path(file))
    typed = read_overrides(overrides)
    from_preset = FileContent() if typed.preset is None else read_preset(typed.preset)
    config, invalid = check(_merge([*from_file.settings, *from_preset.settings, *typed.settings]))
    faults = [*from_file.faults, *from_preset.faults, *typed.faults, *invalid]
    if config is None or faults:
        raise ConfigError("\n".join(faults))
    return config


def read_preset(name: str, group: str = "model") -> FileContent:
    """The settings of a packaged preset, composed by Hydra."""
    content, origin = FileContent(), f"preset {group}={name}"
    for key, value in _flatten(_compose_preset(group, name)):
        if key in option_table():
            content.settings.append(Setting(key, value, origin, show_value(value)))
        else:
            content.faults.append(unknown_key(key, show_value(value), origin))
    return content


def _merge(settings: Iterable[Setting]) -> dict[str, Setting]:
    """The last setting of each key; one class's weight is put into the weights given before it."""
    merged: dict[str, Setting] = {}
    for setting in settings:
        if setting.entry is None:
            merged[setting.key] = setting
            continue
        earlier = merged[setting.key].value if setting.key in merged else None
        value = {**(earlier if isinstance(earlier, dict) else {}), setting.entry: setting.value}
        merged[setting.key] = Setting(setting.key, value, setting.origin, show_value(value))
    return merged


def _flatten(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name in section_names() and isinstance(value, dict):
            yield from ((f"{name}.{key}", item) for key, item in value.items())
        else:
            yield name, value


def _compose_preset(group: str, name: str) -> dict[str, Any]:
    # Hydra is imported here because most faults are found without it, and half of the import time is Hydra's.
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with _HYDRA_LOCK, _own_hydra(), initialize_config_dir(str(PRESETS), version_base="1.3"):
        container = OmegaConf.to_container(compose(overrides=[f"+{group}={name}"]), resolve=True)
    if not isinstance(container, dict):
        raise ConfigError(f"preset {group}={name} is not a mapping")
    return {str(key): value for key, value in container.items()}


@contextlib.contextmanager
def _own_hydra() -> Iterator[None]:
    """Lets Hydra start although the process may be using it, and gives back what was there."""
    from hydra import version
    from hydra.core.global_hydra import GlobalHydra

    instance, base = GlobalHydra.instance(), version.VersionBase.instance()
    hydra_before, base_before = instance.hydra, base.getbase()
    instance.clear()
    try:
        yield
    finally:
        # Hydra's own clean-up leaves a deep copy in its place.
        instance.hydra = hydra_before
        GlobalHydra.set_instance(instance)
        base.version_base = base_before
