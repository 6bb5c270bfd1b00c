"""The Open Inference Protocol, version 2: images as tensors of BYTES, in JSON (base64) or in the binary extension.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from classifier_training.errors import BadImageError
from classifier_training.serve.errors import RequestRefusedError
from classifier_training.serve.model import ModelAnswer
from classifier_training.serve.service import Result, Upload

INPUT: Final = "image"
VERSION: Final = "1"
JSON_LENGTH: Final = "inference-header-content-length"
"""The header that says how many bytes of a body are JSON; the tensors follow."""
_MATRICES: Final = frozenset({"probabilities", "prediction_set"})
"""The outputs of shape (N, K); the others are (N,)."""
_DTYPES: Final = {"INT64": "<i8", "FP64": "<f8", "BOOL": "?"}


def metadata(name: str, num_classes: int, outputs: Mapping[str, str]) -> dict[str, Any]:
    """What ``/v2/models/NAME`` answers.

    Args:
        name: Of the model.
        num_classes: K.
        outputs: The types of its outputs by their names.
    """
    shown = [
        {"name": one, "datatype": kind, "shape": [-1, num_classes] if one in _MATRICES else [-1]}
        for one, kind in outputs.items()
    ]
    inputs = [{"name": INPUT, "datatype": "BYTES", "shape": [-1]}]
    return {
        "name": name,
        "versions": [VERSION],
        "platform": "onnxruntime_onnx",
        "inputs": inputs,
        "outputs": shown,
    }


def read_request(
    body: bytes, json_length: str | None, outputs: Mapping[str, str]
) -> tuple[dict[str, Any], list[Upload]]:
    """The JSON of a request, and its images.

    Args:
        body: The whole body.
        json_length: The header `JSON_LENGTH`; None: all of the body is JSON.
        outputs: The types of the model's outputs by their names.

    Raises:
        RequestRefusedError: It is not a request of the protocol with one tensor of images (400).
    """
    text, rest = body, b""
    if json_length is not None:
        if not (json_length.isascii() and json_length.isdigit() and int(json_length[:12]) <= len(body)):
            raise _wrong(f"the header {JSON_LENGTH} is {json_length!r:.40}; the body has {len(body)} bytes")
        text, rest = body[: int(json_length)], body[int(json_length) :]
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        raise _wrong("the body is not JSON") from None
    inputs = request.get("inputs") if isinstance(request, dict) else None
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise _wrong(f"inputs must be a list of one tensor, {INPUT!r}")
    tensor = inputs[0]
    if tensor.get("datatype") != "BYTES":
        raise _wrong(f"the datatype of an input must be BYTES, the files of images; got {tensor.get('datatype')!r:.40}")
    contents = _elements(tensor, rest)
    num_images = _num_elements(tensor.get("shape"))
    if num_images != len(contents) or not contents:
        raise _wrong(f"the shape {tensor.get('shape')!r:.60} does not fit {len(contents)} images; at least 1 is needed")
    _check_outputs(request.get("outputs"), outputs)
    return request, [Upload(None, content) for content in contents]


def write_response(
    request: Mapping[str, Any], name: str, results: Sequence[Result], types: Mapping[str, str]
) -> tuple[dict[str, Any], list[bytes]]:
    """The JSON of the response, and the tensors that follow it in binary form.

    Args:
        request: The JSON of the request.
        name: Of the model.
        results: What became of the images.
        types: The types of the model's outputs by their names.

    Raises:
        RequestRefusedError: An image could not be read (422).
    """
    predictions = []
    for position, result in enumerate(results):
        if isinstance(result, BadImageError):
            raise RequestRefusedError(422, f"image {position}: {result}")
        predictions.append(result)
    parameters = request.get("parameters")
    is_binary = isinstance(parameters, dict) and parameters.get("binary_data_output") is True
    asked = request.get("outputs") or [{"name": one} for one in types]
    outputs, tensors = [], []
    for one in asked:
        values, shape = _values(one["name"], predictions)
        own = one.get("parameters")
        wanted = own.get("binary_data", is_binary) if isinstance(own, dict) else is_binary
        output = {"name": one["name"], "datatype": types[one["name"]], "shape": shape}
        if wanted is True:
            tensors.append(_binary(values, types[one["name"]]))
            output["parameters"] = {"binary_data_size": len(tensors[-1])}
        else:
            output["data"] = values
        outputs.append(output)
    response = {"model_name": name, "model_version": VERSION, "outputs": outputs}
    given = request.get("id")
    return ({"id": given, **response} if isinstance(given, str) else response), tensors


def _elements(tensor: Mapping[str, Any], rest: bytes) -> list[bytes]:
    """The elements of a tensor: base64 in its ``data``, or what follows the JSON, each after its length."""
    parameters = tensor.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    if size is None:
        data = tensor.get("data")
        if not isinstance(data, list) or not all(isinstance(one, str) for one in data):
            raise _wrong("the data of an input must be a list of texts, each an image file in base64")
        try:
            return [base64.b64decode(one, validate=True) for one in data]
        except (binascii.Error, ValueError):
            raise _wrong("the data of an input is not base64") from None
    if isinstance(size, bool) or not isinstance(size, int) or size != len(rest):
        raise _wrong(f"binary_data_size is {size!r:.40}, and {len(rest)} bytes follow the JSON")
    elements, at = [], 0
    while at < len(rest):
        if at + 4 > len(rest):
            raise _wrong("the binary data ends in the length of an element")
        (length,) = struct.unpack_from("<I", rest, at)
        if at + 4 + length > len(rest):
            raise _wrong("an element of the binary data is longer than the body")
        elements.append(rest[at + 4 : at + 4 + length])
        at += 4 + length
    return elements


def _num_elements(shape: object) -> int | None:
    """How many elements a shape has; None: it is not one of images, (N,) or (N, 1)."""
    if not isinstance(shape, list) or len(shape) not in {1, 2} or shape[1:] not in ([], [1]):
        return None
    is_count = isinstance(shape[0], int) and not isinstance(shape[0], bool)
    return shape[0] if is_count else None


def _check_outputs(asked: object, outputs: Mapping[str, str]) -> None:
    if asked is None:
        return
    names = [one.get("name") if isinstance(one, dict) else None for one in asked] if isinstance(asked, list) else [None]
    if not all(isinstance(name, str) and name in outputs for name in names):
        raise _wrong(f"outputs must be a list of tensors out of {', '.join(outputs)}")


def _values(name: str, predictions: Sequence[ModelAnswer]) -> tuple[list[Any], list[int]]:
    values = [getattr(prediction, name) for prediction in predictions]
    if name not in _MATRICES:
        return values, [len(values)]
    return [one for row in values for one in row], [len(values), len(values[0])]


def _binary(values: Sequence[Any], datatype: str) -> bytes:
    if datatype != "BYTES":
        return np.asarray(values, _DTYPES[datatype]).tobytes()
    encoded = [str(value).encode("utf-8", "backslashreplace") for value in values]
    return b"".join(struct.pack("<I", len(one)) + one for one in encoded)


def _wrong(reason: str) -> RequestRefusedError:
    return RequestRefusedError(400, reason)
