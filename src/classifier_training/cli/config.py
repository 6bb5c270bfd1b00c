"""The commands ``config show`` and ``config options``."""

from __future__ import annotations

import sys

from classifier_training.cli.arguments import ConfigFile, Settings, read_settings


def config_show(settings: Settings = None, config: ConfigFile = None) -> None:
    """Print the complete configuration that the given settings result in, as YAML.

    Examples:
      classifier-training config show model=resnet50 data.batch_size=64
      classifier-training config show --config runs/shirts/config.yaml
    """
    from classifier_training.config import load_config, to_yaml

    sys.stdout.write(to_yaml(load_config(read_settings(settings), file=config)))


def config_options() -> None:
    """List all settings with type, default and meaning, and all presets.

    Examples:
      classifier-training config options
      classifier-training config options | grep optimizer
    """
    from classifier_training.config.options import options
    from classifier_training.config.preset_groups import presets
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal()
    rows = [
        [option.key, " | ".join(option.choices) or option.type, option.default, option.description]
        for option in options()
    ]
    terminal.table("settings, key=value", ["key", "type", "default", "meaning"], rows, others="left")
    rows = [[f"{one.group}={one.name}", one.summary] for one in presets()]
    terminal.table("presets", ["preset", "for"], rows, others="left")
