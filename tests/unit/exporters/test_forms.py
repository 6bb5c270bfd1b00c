"""The table of export forms and the settings that all of them take."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from classifier_training import exporters
from classifier_training.errors import ConfigError
from classifier_training.exporters.forms import (
    DEFAULT_FORM,
    FORMS,
    ExportForm,
    ExportSettings,
    check_form,
    export_form,
    form_of,
)


def test_the_table_has_every_module_with_a_form() -> None:
    folder = Path(str(exporters.__file__)).parent
    modules = [f"{exporters.__name__}.{path.stem}" for path in folder.glob("*.py") if path.stem != "__init__"]
    forms = {getattr(importlib.import_module(name), "FORM", None): name for name in modules}
    found = {form.name: name for form, name in forms.items() if isinstance(form, ExportForm)}

    assert found == FORMS, "a form is a module of exporters/ with `FORM`, and a line in exporters/forms.py"


def test_a_form_is_found_by_its_name() -> None:
    assert [export_form(name).name for name in FORMS] == list(FORMS)
    assert DEFAULT_FORM in FORMS
    check_form(DEFAULT_FORM)
    for find in (check_form, export_form):
        with pytest.raises(ConfigError, match="there is no export form 'tflite'; allowed are onnx, end-to-end"):
            find("tflite")


def test_what_belongs_to_a_file_is_known_without_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of other weights is removed on any machine."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)

    with pytest.raises(ConfigError, match="needs the package openvino"):
        export_form("openvino")
    assert form_of("openvino").parts == (".bin",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exporter": "tf"}, "export: exporter must be 'torchscript' or 'dynamo'; got 'tf'"),
        ({"opset_version": 12}, "opset_version must be 13 to 20 for exporter='torchscript'; got 12"),
        ({"opset_version": 12, "exporter": "dynamo"}, "opset_version must be 18 to 23 for exporter='dynamo'; got 12"),
        ({"opset_version": True}, "opset_version must be"),
        ({"tolerance": 0}, "tolerance must be a positive number; got 0"),
        ({"tolerance": float("nan")}, "tolerance must be"),
    ],
)
def test_settings_out_of_range_are_one_clear_line(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ExportSettings(**options)
