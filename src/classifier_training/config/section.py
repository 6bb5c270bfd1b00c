"""What the sections of a configuration have in common: their base class and the types of their values."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Final, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

CONFLICT = "conflict"  # pydantic's error type for settings that are valid on their own and contradict each other
LENIENT: Final = "conflicts are allowed"
"""The context of a validation that lets settings contradict each other, to find what else is wrong."""

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
OpenFraction = Annotated[float, Field(ge=0.0, lt=1.0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]
NonNegativeFloat = Annotated[float, Field(ge=0.0)]
PositiveInt = Annotated[int, Field(ge=1)]
NonNegativeInt = Annotated[int, Field(ge=0)]
NonEmptyText = Annotated[str, Field(min_length=1)]
BYTE_COUNT = r"^[0-9]+(\.[0-9]+)? ?([kKMGT]i?)?B$"
DURATION = r"^([0-9]+(\.[0-9]+)?d)?([0-9]+(\.[0-9]+)?h)?([0-9]+(\.[0-9]+)?m)?([0-9]+(\.[0-9]+)?s)?$"
HEX_COLOUR = r"^#[0-9a-fA-F]{6}$"
ByteCount = Annotated[str, Field(pattern=BYTE_COUNT)]
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}


def seconds_of(duration: float | str) -> float:
    """Seconds of a duration: a number of them, or a text such as ``90s``, ``10m`` or ``1h30m``."""
    if not isinstance(duration, str):
        return float(duration)
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([0-9.]+)([dhms])", duration))


def _takes_time(duration: str) -> str:
    if seconds_of(duration) <= 0:
        raise ValueError("it is no time at all")
    return duration


Duration = Annotated[str, Field(pattern=DURATION), AfterValidator(_takes_time)]
Level = Annotated[int, Field(ge=0, le=255)]
Colour = (
    Literal["white", "black", "gray"]
    | Annotated[str, Field(pattern=HEX_COLOUR)]
    | Annotated[tuple[Level, Level, Level], Field(strict=False)]
)


class Section(BaseModel):
    """Base of all sections: frozen, strictly typed, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())

    @model_validator(mode="after")
    def _settings_agree(self, info: ValidationInfo) -> Self:
        conflicts = [] if info.context == LENIENT else list(self._conflicts())
        if conflicts:
            message = "; ".join(f"{', '.join(names)}: {reason}" for names, reason in conflicts)
            raise PydanticCustomError(CONFLICT, "{message}", {"message": message, "conflicts": conflicts})
        return self

    def _conflicts(self) -> Iterator[tuple[tuple[str, ...], str]]:
        """Yields the names of settings that contradict each other, and the reason."""
        yield from ()
