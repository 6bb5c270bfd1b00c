"""The form ``safetensors``: weights by timm's names, with what ``timm.create_model`` needs to build their model."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import safetensors
import safetensors.torch
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from timm.data.config import resolve_data_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn

from classifier_training.errors import ExportError, first_line
from classifier_training.exporters.exportable import check_exportable
from classifier_training.exporters.forms import ExportForm, ExportSettings, ProofImages
from classifier_training.exporters.proof import NUM_IN_BATCHES, Deployed, logits_of_model, prove, spread
from classifier_training.exporters.timm_config import pretrained_entries, timm_config
from classifier_training.exporters.verification import figures_of_file, some_of, versions
from classifier_training.inference.card import DeploymentCard
from classifier_training.models.base import BaseClassificationModel
from classifier_training.types import Preprocessing

CONFIG_NAME: Final = "config.json"
"""The file by which timm knows the model, when it is given the folder."""
_CONFIG_KEY: Final = "timm_config"
_VERSIONS: Final = ("classifier-training", "torch", "timm", "safetensors")
_WEIGHTS_NAME: Final = "model.safetensors"


def write_weights(
    model: nn.Module, path: Path, images: Tensor, _settings: ExportSettings, metadata: Mapping[str, str]
) -> None:
    """Writes the weights of the backbone as they are scored, by timm's names.

    Args:
        model: On the CPU, in evaluation mode, float32.
        path: The file to write.
        images: (n, 3, H, W).
        metadata: Text entries to write into the file.

    Raises:
        ExportError: It is not a model of this package, whose backbone timm can build.
    """
    check_exportable(model, images[:1])
    if not isinstance(model, BaseClassificationModel):
        raise ExportError(
            f"{type(model).__name__} is not a BaseClassificationModel, whose backbone timm can build again: the form"
            " safetensors is for these"
        )
    # a copy each: the file takes neither another memory layout nor two names for one memory
    weights = {
        name: value.detach().clone(memory_format=torch.contiguous_format)
        for name, value in model.backbone.state_dict().items()
    }
    entries = {**metadata, "format": "pt", _CONFIG_KEY: json.dumps(timm_config(model), ensure_ascii=False)}
    safetensors.torch.save_file(weights, path, entries)


def read_timm_config(path: Path) -> dict[str, Any]:
    """The content of ``config.json`` for a file that `write_weights` wrote."""
    with safetensors.safe_open(path, framework="pt") as file:
        return cast("dict[str, Any]", json.loads(file.metadata()[_CONFIG_KEY]))


def accept_weights(path: Path, model: nn.Module, images: ProofImages, settings: ExportSettings) -> dict[str, Any]:
    """Accepts a file that timm loads by itself, in both of its ways, into a model with the same answers.

    Arguments and returned figures as of `compare_onnx`; ``loaded_by`` has the figures of each way.
    """
    figures = figures_of_file(path, len(images.prepared), settings.tolerance, versions(*_VERSIONS))
    images = replace(images, logits=logits_of_model(model, images))
    compared: dict[str, dict[str, Any]] = {}
    wrong: str | None = None
    try:
        card = read_card(path)
        with _quiet():
            for way, loaded in _loaded_by_timm(path):
                chosen = some_of(images) if compared else images  # it is the same file, read once more
                compared[way] = prove(Deployed(_runner(loaded.eval()), card, "timm"), model, chosen, settings)
                if way == "local-dir":  # of a file alone timm knows no preparation
                    wrong = _wrong_preparation(loaded, cast("BaseClassificationModel", model).preprocessing)
    except Exception as error:  # timm's loading raises many unrelated types
        return figures | {"error": first_line(error), "reason": f"timm cannot load the file: {first_line(error)}"}
    figures |= read_by_timm(model, images)
    failed = next((one for one in compared.values() if not one["passed"]), None)
    figures |= {**(failed or next(iter(compared.values()))), "loaded_by": compared}
    return figures if failed or not wrong else figures | {"passed": False, "reason": wrong}


def read_card(path: Path) -> DeploymentCard | None:
    """The deployment card in a file that `write_weights` wrote; None: it has none."""
    with safetensors.safe_open(path, framework="pt") as file:
        return DeploymentCard.from_metadata(file.metadata() or {}, str(path))


def _runner(model: nn.Module) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Prepared images to the logits of a model, (N, K)."""

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: NDArray[np.float32] = model(torch.from_numpy(images)).float().numpy()
        return logits

    return run


def read_by_timm(model: nn.Module, images: ProofImages) -> dict[str, Any]:
    """How the model answers to image files that timm opens and prepares: ``PIL.Image.open`` and timm's transform.

    Pillow turns no photo upright, so one that lies on its side by its EXIF entry is another image there.

    Returns:
        Figures as ``own_reading``; nothing where there are no files.
    """
    if not images.originals or not isinstance(model, BaseClassificationModel):
        return {}
    transform = create_transform(**_timm_preparation(pretrained_entries(model.preprocessing)))
    chosen = spread(len(images.originals), NUM_IN_BATCHES)
    contents = [images.originals[position].content for position in chosen.tolist()]
    try:
        with _quiet():
            opened = [Image.open(io.BytesIO(content)).convert("RGB") for content in contents]
            inputs = torch.stack([transform(image) for image in opened])
    except Exception as error:  # as broken as images come; this package may have read it
        return {"own_reading": {"by": "timm", "error": first_line(error)}}
    with torch.no_grad():
        compared = _compare(model(inputs).numpy(), logits_of_model(model, images)[chosen])
    difference = float((inputs - images.prepared[chosen]).abs().max())
    return {
        "own_reading": {"by": "timm", "num_images": len(opened), **compared, "max_abs_input_difference": difference}
    }


FORM = ExportForm(
    "safetensors",
    build=write_weights,
    acceptance=accept_weights,
    companions={CONFIG_NAME: read_timm_config},
)


def _loaded_by_timm(path: Path) -> Iterator[tuple[str, nn.Module]]:
    """The model that timm makes of the file alone, and of a folder that has it beside its ``config.json``."""
    config = read_timm_config(path)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, _WEIGHTS_NAME)  # timm goes by the ending of the name
        try:
            weights.symlink_to(path.resolve())
        except OSError:  # on Windows not everybody may
            shutil.copyfile(path, weights)
        Path(folder, CONFIG_NAME).write_text(json.dumps(config), encoding="utf-8")
        arguments = {"num_classes": config["num_classes"], **config.get("model_args", {})}
        yield "checkpoint_path", timm.create_model(config["architecture"], checkpoint_path=str(weights), **arguments)
        yield "local-dir", timm.create_model(f"local-dir:{folder}", pretrained=True)


def _compare(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> dict[str, Any]:
    if found.shape != expected.shape:
        raise ValueError(f"it gives logits of shape {found.shape} where the model gives {expected.shape}")
    difference = float(np.abs(found - expected).max())
    return {
        "top1_agreement": float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
        "max_abs_logit_difference": difference if np.isfinite(difference) else None,  # JSON has no NaN
    }


def _wrong_preparation(loaded: nn.Module, preprocessing: Preprocessing) -> str | None:
    """What timm prepares otherwise for the model that it has loaded from a folder; None: nothing."""
    entries: Mapping[str, Any] = cast("Any", loaded).pretrained_cfg
    wanted, found = _timm_preparation(pretrained_entries(preprocessing)), _timm_preparation(entries)
    wrong = [
        f"{name} is {found.get(name)} instead of {value}" for name, value in wanted.items() if found[name] != value
    ]
    return f"timm would prepare images otherwise: {', '.join(wrong)}" if wrong else None


def _timm_preparation(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of timm's transform for a model of that configuration, where it is used."""
    found = cast("Any", resolve_data_config)(pretrained_cfg=entries, use_test_size=True, verbose=False)
    return {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Drops what timm and Pillow warn of; what matters is measured."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
