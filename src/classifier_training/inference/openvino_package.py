"""The package OpenVINO, which is an extra, and what it does by itself."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType
from typing import Any, Final

from classifier_training.errors import ConfigError

_TELEMETRY: Final = "openvino_telemetry"


def check_openvino(who: str = "--form openvino") -> None:
    """Raises a `ConfigError` where OpenVINO is not installed, which ``who`` needs; imports nothing."""
    if importlib.util.find_spec("openvino") is None:
        raise ConfigError(
            f"{who} needs the package openvino, which is not installed; install it with pip install"
            " 'classifier-training[openvino]', or use the form onnx"
        )


def import_openvino(who: str = "--form openvino") -> Any:
    """Imports OpenVINO without its telemetry.

    Its import reports itself to its maker as soon as the package ``openvino_telemetry`` is there, and that comes with
    it. Where that package is missing OpenVINO sends nothing, so it is missing while OpenVINO is imported.

    Args:
        who: What needs it, for the message.

    Returns:
        The module ``openvino``.

    Raises:
        ConfigError: It is not installed.
    """
    check_openvino(who)
    before: ModuleType | None = sys.modules.get(_TELEMETRY)
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # what Python documents to make an import fail
    try:
        return importlib.import_module("openvino")
    finally:
        del sys.modules[_TELEMETRY]
        if before is not None:
            sys.modules[_TELEMETRY] = before
