"""Writes docs/settings.md from the schema of the configuration: ``python scripts/settings_page.py``."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

from classifier_training.config.options import options
from classifier_training.config.preset_groups import presets
from classifier_training.config.schema import Config

PAGE = Path(__file__).parents[1] / "docs" / "settings.md"
WIDTH = 118
INTRODUCTION = """\
# Settings

Settings are written `key=value`, on the command line, in a list or mapping in Python, or in a YAML file given with
`--config`; `null` switches an optional one off. A later setting wins over an earlier one, and every setting wins
over a preset. A mistake is reported before anything is read, with the nearest valid name. `config show` prints what
the given settings result in.

`train` names all that contradicts each other in one answer. A setting that was typed and does nothing in this
training, such as `ema.decay` with `ema.enabled=false`, is refused; of one in a YAML file, which may serve several
trainings, the program warns.

```sh
classifier-training config show model=resnet50 data.batch_size=64
```

This page is generated from the schema by `scripts/settings_page.py`; `classifier-training config options` prints the
same list.
"""


def settings_page() -> str:
    """The whole page as Markdown."""
    return "\n".join([INTRODUCTION, *_presets(), *_settings()])


def _presets() -> Iterator[str]:
    yield "## Presets\n"
    for preset in presets():
        yield _item(f"`{preset.group}={preset.name}`: {preset.summary}")
    yield ""


def _settings() -> Iterator[str]:
    for name, section in groupby(options(), key=lambda option: option.key.rpartition(".")[0]):
        if name:
            model = Config.model_fields[name].annotation
            yield f"## {name}\n\n{(model.__doc__ or '').strip()}\n"
        else:
            yield "## General\n"
        for option in section:
            yield _item(f"`{option.key}`, default `{option.default}`: {option.description}. Allowed: {option.allowed}.")
        yield ""


def _item(text: str) -> str:
    text = text.replace("<", "&lt;")
    return textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False)


if __name__ == "__main__":
    PAGE.write_text(settings_page(), encoding="utf-8")
