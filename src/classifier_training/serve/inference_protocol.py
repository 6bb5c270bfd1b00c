"""The endpoints of the Open Inference Protocol."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from classifier_training.serve import protocol
from classifier_training.serve.answers import refusals
from classifier_training.serve.bodies import read_whole
from classifier_training.serve.errors import RequestRefusedError
from classifier_training.serve.limits import Share
from classifier_training.serve.responses import json_response
from classifier_training.serve.service import Service, Upload

_TENSOR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["name", "datatype", "shape"],
    "properties": {
        "name": {"type": "string"},
        "datatype": {"type": "string", "enum": ["BYTES"]},
        "shape": {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 2},
        "data": {"type": "array", "items": {"type": "string", "format": "byte"}},
        "parameters": {"type": "object"},
    },
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"},
                        "inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 1},
                        "outputs": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {"name": {"type": "string"}},
                            },
                        },
                        "parameters": {"type": "object"},
                    },
                }
            }
        },
    }
}
ModelName = Annotated[str, Path(description="what the model is called")]
ModelVersion = Annotated[str, Path(description=f"always {protocol.VERSION}")]


def protocol_routes(service: Service, name: str) -> APIRouter:
    """The endpoints of the protocol that need a key where there is one.

    Args:
        service: What answers.
        name: What the model is called.
    """
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol"])

    @router.get("")
    async def server() -> dict[str, Any]:
        """What this server is."""
        from classifier_training import __version__

        return {"name": "classifier-training", "version": __version__, "extensions": ["binary_tensor_data"]}

    @router.get("/models/{model}", responses=refusals(404))
    async def model(model: ModelName) -> dict[str, Any]:
        """The inputs and outputs of the model."""
        _check_name(name, model)
        return protocol.metadata(name, len(service.model.classes), service.model.outputs)

    @router.get("/models/{model}/ready", responses=refusals(404, 503))
    async def model_ready(model: ModelName) -> dict[str, Any]:
        """Whether the model is ready."""
        _check_name(name, model)
        service.check_ready()
        return {"name": name, "ready": True}

    _add_infer(router, service, name)
    return router


def _check_name(name: str, model: str, version: str = protocol.VERSION) -> None:
    if model != name or version != protocol.VERSION:
        raise RequestRefusedError(404, f"there is no model {model!r:.100} of version {version!r:.20}, only {name!r}")


def _add_infer(router: APIRouter, service: Service, name: str) -> None:
    answers = refusals(400, 404, 408, 413, 422, 503, 504)

    @router.post("/models/{model}/infer", responses=answers, openapi_extra=_BODY)
    async def infer_model(request: Request, model: ModelName) -> Response:
        """Classifies images: one tensor of BYTES, their files in base64, or binary after the JSON."""
        _check_name(name, model)
        return await _infer(service, name, request)

    @router.post("/models/{model}/versions/{version}/infer", responses=answers, openapi_extra=_BODY)
    async def infer_version(request: Request, model: ModelName, version: ModelVersion) -> Response:
        """The same for a version of the model."""
        _check_name(name, model, version)
        return await _infer(service, name, request)


async def _infer(service: Service, name: str, request: Request) -> Response:
    asked: dict[str, Any] = {}
    outputs = service.model.outputs

    async def read(request: Request, share: Share) -> list[Upload]:
        nonlocal asked
        body = await read_whole(request, service.settings, share)
        length = request.headers.get(protocol.JSON_LENGTH)
        asked, uploads = await asyncio.to_thread(protocol.read_request, body, length, outputs)
        return uploads

    results = [result for _, result in await service.answer(request, read)]
    content, tensors = protocol.write_response(asked, name, results, outputs)
    if not tensors:
        return json_response(content)
    text = json.dumps(content, allow_nan=False).encode()
    headers = {protocol.JSON_LENGTH: str(len(text))}
    return Response(b"".join((text, *tensors)), headers=headers, media_type="application/octet-stream")
