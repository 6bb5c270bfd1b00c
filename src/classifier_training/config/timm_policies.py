"""What timm's words for an augmentation policy, such as ``rand-m9-mstd0.5-inc1``, mean in our settings."""

from __future__ import annotations

import re
from typing import Final

_MAGNITUDES_A_LEVEL: Final = 3  # timm counts to 10, torchvision and our settings to 30
_PART: Final = re.compile(r"([a-z]+)(-?\d+(?:\.\d+)?)")
_INFINITE: Final = 100  # timm's mark for magnitudes of another distribution, which we do not have


def translate_policy(text: str) -> list[str] | None:
    """The assignments that a policy of timm's means; None: it is not one that there is here."""
    name, *parts = re.sub(r"-(?=\d)", "~", text.lower()).split("-")  # d-1 is one word
    found = [_PART.fullmatch(part.replace("~", "-")) for part in parts]
    if name in {"3a", "three_augment"} and not parts:
        return ["data.auto_augment=3augment"]
    if name not in {"rand", "augmix"} or None in found:
        return None
    values = {match[1]: float(match[2]) for match in found if match}
    if name == "augmix":
        values.pop("d" if values.get("d", 0) < 0 else "", None)
        settings = {"m": "augmix_severity", "w": "augmix_width", "d": "augmix_depth", "a": "augmix_alpha"}
        return ["data.auto_augment=augmix", *_assignments(values, settings)]
    if values.get("mstd", 0) >= _INFINITE:
        return None
    values |= {part: _MAGNITUDES_A_LEVEL * values[part] for part in ("m", "mstd") if part in values}
    settings = {"m": "randaugment_magnitude", "n": "randaugment_num_ops", "mstd": "randaugment_mstd"}
    return ["data.auto_augment=randaugment", *_assignments(values, settings)]


def _assignments(values: dict[str, float], settings: dict[str, str]) -> list[str]:
    return [f"data.{setting}={values[part]:g}" for part, setting in settings.items() if part in values]
