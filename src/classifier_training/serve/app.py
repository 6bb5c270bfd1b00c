"""The endpoints of a server and their OpenAPI page."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Callable
from importlib import resources
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from classifier_training.errors import BadImageError, LargeImageError, is_out_of_memory
from classifier_training.serve.answers import Answer, Answers, as_json, refusals
from classifier_training.serve.bodies import FORM, is_form, read_uploads
from classifier_training.serve.errors import RequestRefusedError, busy
from classifier_training.serve.facts import model_facts
from classifier_training.serve.guard import Guard, key_check, page_headers
from classifier_training.serve.inference_protocol import protocol_routes
from classifier_training.serve.responses import json_response
from classifier_training.serve.service import Result, Service

_BINARY: Final = {"schema": {"type": "string", "format": "binary"}}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The bytes of one image file under any other content type, or a form with one or more files.",
        "content": {
            "application/octet-stream": _BINARY,
            "image/jpeg": _BINARY,
            "image/png": _BINARY,
            FORM: {
                "schema": {
                    "type": "object",
                    "properties": {"image": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    "required": ["image"],
                }
            },
        },
    }
}
_CLIENT_CLOSED_REQUEST: Final = 499
TopK = Query(None, ge=1, description="give the probabilities of that many classes only, the most probable first")


def create_app(service: Service, name: str, on_proven: Callable[[], None] | None = None) -> FastAPI:
    """The application of a server.

    Args:
        service: What answers. It proves the model when the application starts.
        name: What the model is called.
        on_proven: As of `Service.running`.
    """

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None, None]:
        async with service.running(on_proven):
            yield

    app = FastAPI(
        title=f"Image classifier {name}",
        summary="Classifies images with an exported model of classifier-training.",
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(_open_routes(service))
    checks = [Depends(key_check(service.settings.api_key))] if service.settings.api_key else []
    app.include_router(_routes(service, name), dependencies=checks)
    app.include_router(protocol_routes(service, name), dependencies=checks)
    app.add_middleware(Guard, metrics=service.metrics)
    for kind, answer in _HANDLERS.items():
        app.add_exception_handler(kind, answer)
    return app


def _open_routes(service: Service) -> APIRouter:
    """What needs no key: the page, and whether the server is alive and ready."""
    router = APIRouter()
    page = resources.files("classifier_training.serve").joinpath("page.html").read_bytes()

    @router.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return Response(page, media_type="text/html", headers=page_headers(page))

    @router.get("/favicon.ico", include_in_schema=False)
    async def show_icon() -> Response:
        return Response(status_code=204)

    @router.get("/healthz", tags=["health"])
    @router.get("/v2/health/live", tags=["health"])
    async def live() -> dict[str, bool]:
        """Whether the process answers."""
        return {"live": True}

    @router.get("/readyz", tags=["health"], responses=refusals(503))
    @router.get("/v2/health/ready", tags=["health"], responses=refusals(503))
    async def ready() -> dict[str, bool]:
        """Whether the model has classified the self-test pictures of its file as recorded."""
        service.check_ready()
        return {"ready": True}

    return router


def _routes(service: Service, name: str) -> APIRouter:
    router = APIRouter()
    facts = model_facts(service.model.classifier, name)

    @router.post(
        "/predict",
        tags=["predict"],
        response_model=Answer | Answers,
        responses=refusals(400, 408, 413, 422, 503, 504),
        openapi_extra=_BODY,
    )
    async def predict(request: Request, top_k: int | None = TopK) -> Response:
        """Classifies one image, sent as the bytes of its file, or some, sent as the files of a form.

        The answer to a form is a list in the order of its files; one that cannot be read has an `error`. Where no
        image can be read, the status is 422.
        """
        found = await service.answer(request, lambda one, share: read_uploads(one, service.settings, share))
        rows = [as_json(result, upload.name, service.model.classes, top_k) for upload, result in found]
        if not is_form(request):
            return json_response(rows[0], _status(found[0][1]))
        if all(isinstance(result, BadImageError) for _, result in found):
            return json_response({"error": "no image of the form can be read", "predictions": rows}, 422)
        return json_response({"predictions": rows})

    @router.get("/model", tags=["model"])
    async def model() -> Response:
        """The deployment card of the model, how it was verified, and its scores with their intervals."""
        return json_response({**facts, "self_test_images": service.model.num_self_test_images})

    @router.get("/metrics", tags=["model"], response_class=Response)
    async def metrics() -> Response:
        """Counts and drift, in the text format of Prometheus."""
        service.metrics.places.set(service.places.taken)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _status(result: Result) -> int:
    if isinstance(result, LargeImageError):
        return 413
    return 422 if isinstance(result, BadImageError) else 200


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestRefusedError)  # noqa: S101 - registered for it
    return json_response({"error": error.message}, error.status, error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - as above
    faults = (f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
    return json_response({"error": "; ".join(faults)}, 422)


async def _http(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - as above
    return json_response({"error": str(error.detail).lower()}, error.status_code, dict(error.headers or {}))


async def _gone(_: Request, error: Exception) -> Response:  # noqa: ARG001 - Starlette's signature
    return Response(status_code=_CLIENT_CLOSED_REQUEST)  # nobody reads it


async def _failed(request: Request, error: Exception) -> Response:
    if is_out_of_memory(error):
        return await _refused(request, busy("the machine's memory is full", 1))
    return json_response({"error": "the model gave no answer; the log of the server says why"}, 500)


_HANDLERS: Final[dict[Any, Callable[[Request, Exception], Any]]] = {
    RequestRefusedError: _refused,
    RequestValidationError: _invalid,
    HTTPException: _http,
    ClientDisconnect: _gone,
    Exception: _failed,
}
