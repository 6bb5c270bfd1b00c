"""What the endpoints answer, as JSON and as the types of the OpenAPI page."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import BaseModel, Field

from classifier_training.errors import BadImageError
from classifier_training.serve.model import ModelAnswer


class Answer(BaseModel):
    """The prediction for one image, or why there is none."""

    file: str | None = Field(None, description="name of the image, where the request gave one")
    label: str | None = Field(None, description="the most probable class")
    index: int | None = Field(None, description="its position in the class names")
    probability: float | None = Field(None, description="its probability")
    probabilities: dict[str, float] | None = Field(None, description="of every class, or of the top_k most probable")
    abstain: bool | None = Field(None, description="whether the model is not certain enough for an answer")
    prediction_set: list[str] | None = Field(None, description="the classes that it may be")
    unknown_score: float | None = Field(None, description="how little the image is like those of the training")
    unknown: bool | None = Field(None, description="whether it counts as unlike them")
    error: str | None = Field(None, description="why the image could not be classified")


class Answers(BaseModel):
    """The predictions for the images of a multipart request, in their order."""

    predictions: list[Answer]


class Refusal(BaseModel):
    """Why a request was not served."""

    error: str


def as_json(
    result: ModelAnswer | BadImageError, name: str | None, classes: Sequence[str], top_k: int | None
) -> dict[str, Any]:
    """One image's result as `Answer` describes it, without what does not apply.

    Args:
        result: The prediction, or why there is none.
        name: Name of the image; None: it has none.
        classes: K class names.
        top_k: How many of the probabilities; None: all, in class order.
    """
    named = {} if name is None else {"file": name}
    if isinstance(result, BadImageError):
        return {**named, "error": str(result)}
    members = result.prediction_set
    pairs = list(zip(classes, result.probabilities, strict=True))
    if top_k is not None:
        pairs = sorted(pairs, key=lambda pair: -pair[1])[:top_k]
    return {
        **named,
        "label": result.label,
        "index": result.index,
        "probability": result.probability,
        "probabilities": dict(pairs),
        **{name: value for name in _DECIDED if (value := getattr(result, name)) is not None},
        **({} if members is None else {"prediction_set": list(itertools.compress(classes, members))}),
    }


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of these statuses for the OpenAPI page."""
    return {status: {"model": Refusal, "description": _MEANINGS[status]} for status in statuses}


_DECIDED: Final = ("abstain", "unknown_score", "unknown")
_MEANINGS: Mapping[int, str] = {
    400: "The request cannot be understood",
    401: "The API key is missing or wrong",
    404: "There is no such model",
    408: "The body did not arrive in time",
    413: "The body, or the number of images, is too large",
    422: "No image of the request can be read",
    503: "Busy or not ready; Retry-After says when to come again",
    504: "There was no answer in time",
}
