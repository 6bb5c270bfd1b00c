"""Answers in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


def json_response(content: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """JSON in ASCII, which holds any text, also that of file names that are not UTF-8."""
    return Response(json.dumps(content, allow_nan=False), status, headers, media_type="application/json")
