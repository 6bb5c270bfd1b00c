"""The configuration of a training: what can be trained with it, and what was typed in vain, in one answer."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Final

from classifier_training.config.arguments import read_overrides
from classifier_training.config.compose import AUTO, compose
from classifier_training.config.contradictions import Contradiction, contradictions, contradictions_of_typed
from classifier_training.config.explain import check, explain_all, read_leniently
from classifier_training.config.files import read_file
from classifier_training.config.options import option_table
from classifier_training.config.overrides import OverrideLike
from classifier_training.config.schema import Config
from classifier_training.errors import ConfigError

OPEN_TO: Final = {"finetune": "finetune", "scratch": "scratch", "scratch_32px": "scratch", "scratch_long": "scratch"}
"""Presets that a recipe becomes which is left open, with its name then; a probe only where there is little time."""


def load_training(
    overrides: OverrideLike = (),
    *,
    file: str | Path | None = None,
    chosen: Mapping[str, object] | None = None,
    is_new: bool = True,
) -> tuple[Config, dict[str, str]]:
    """Composes the configuration of a training: as `load_config`, and refuses what no training can do with it.

    What was typed and does nothing is refused, too, with one exception: what does nothing because of what was chosen
    automatically, or is in a file, which may serve several trainings, comes back to be warned of.

    Args:
        overrides: As of `load_config`.
        file: As of `load_config`.
        chosen: As of `load_config`.
        is_new: Whether the training begins; one that is resumed has begun with what is in its file, whatever that is.

    Returns:
        The configuration, and a line for each setting that does nothing, by its key.

    Raises:
        ConfigError: Anything is wrong; one line for each fault.
    """
    merged, faults = compose(overrides, file, chosen)
    typed = list(dict.fromkeys(one.key for one in read_overrides(overrides).settings))
    of_file = [key for key in _typed_in_file(file) if key not in typed]

    def find(config: Config, suspect: Container[str]) -> list[Contradiction]:
        found = list(contradictions(config)) if is_new else []
        named = {name for names, _ in found for name in names}
        idle = _idle(config, typed, overrides, file, suspect) if chosen is None else []
        return found + [one for one in idle if one[0][0] not in named]

    config, invalid = check(merged, find)
    if config is None or faults or invalid:
        raise ConfigError("\n".join([*faults, *invalid]))
    # the limit that a choice was made by is of use; without a choice all that was typed in vain was refused above
    keys = of_file if chosen is None else [key for key in (*typed, *of_file) if key != "trainer.time_limit"]
    return config, {one[0][0]: explain_all([one], merged)[0] for one in _idle(config, keys, overrides, file)}


def _idle(
    config: Config,
    keys: Sequence[str],
    overrides: OverrideLike,
    file: str | Path | None,
    suspect: Container[str] = (),
) -> list[Contradiction]:
    """What of these settings does nothing, in their order, whatever is chosen for a recipe that is left open."""
    idle = sorted(contradictions_of_typed(config, keys), key=lambda one: keys.index(one[0][0]))
    for preset, name in OPEN_TO.items() if idle and config.recipe.name == AUTO else ():
        chosen = {"recipe": preset, "recipe.name": name}
        other = read_leniently(compose(overrides, file, chosen)[0], suspect)
        also = {names[0] for names, _ in contradictions_of_typed(other, keys)}
        idle = [one for one in idle if one[0][0] in also]
    return idle


def _typed_in_file(file: str | Path | None) -> list[str]:
    """The settings of a file that somebody has written; none of that of a run, which states most of them."""
    keys = [] if file is None else [one.key for one in read_file(Path(file)).settings]
    return keys if 2 * len(keys) < len(option_table()) else []
