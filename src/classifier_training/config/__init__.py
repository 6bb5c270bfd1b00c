"""Settings: what is valid, how they are composed and how a mistake in them is explained.

Nothing that acts on a setting.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from classifier_training.lazy import lazy_names

if TYPE_CHECKING:
    from classifier_training.config.compose import load_config as load_config
    from classifier_training.config.files import to_yaml as to_yaml
    from classifier_training.config.schema import Config as Config

__all__, __getattr__, __dir__ = lazy_names(__name__, {"Config": "schema", "load_config": "compose", "to_yaml": "files"})
