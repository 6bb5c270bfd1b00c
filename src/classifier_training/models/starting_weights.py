"""Which weights a backbone starts from: those of a file, an installed package, the hub's cache or the hub, or none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from huggingface_hub import constants

from classifier_training.errors import ModelError
from classifier_training.files.text import show_bytes
from classifier_training.models.hub import (
    HubFile,
    HubUnavailableError,
    ask_hub,
    cached_weights,
    check_weights_file,
    download_weights,
    hub_config,
    stored_sha256,
)
from classifier_training.models.packaged_weights import describe_package, package_of, packaged_weights
from classifier_training.types import Progress


@dataclass(frozen=True, slots=True)
class StartingWeights:
    """The weights that a training starts from.

    Attributes:
        kind: Where they are; ``none``: none are wanted; ``missing``: there are none to be had.
        name: What they are, for a message; empty for none.
        reason: Why these.
        path: Their file; None: they are at the hub, or there are none.
        licence: Their licence, where it is stated.
        at_hub: Their file at the hub, where it is to be downloaded.
        sha256: Hash of their file; None before `fetch_weights`.
    """

    kind: Literal["file", "package", "cache", "hub", "none", "missing"]
    name: str
    reason: str
    path: Path | None = None
    licence: str | None = None
    at_hub: HubFile | None = None
    sha256: str | None = None

    def __bool__(self) -> bool:
        """Whether there are any."""
        return self.kind not in {"none", "missing"}

    def describe(self) -> str:
        """What they are, with size and licence where these are known."""
        size = self.at_hub.size if self.at_hub is not None else None
        facts = [show_bytes(size) if size else "", f"licence {self.licence}" if self.licence else ""]
        shown = ", ".join(fact for fact in facts if fact)
        return f"{self.name} ({shown})" if shown else self.name


def find_weights(
    name: str,
    *,
    pretrained: bool | Literal["auto"],
    file: str | None = None,
    ask_network: bool = True,
    wanted_by: str = "model.pretrained=true",
) -> StartingWeights:
    """Decides where a backbone's weights come from, and loads nothing.

    The order is: the file that was given, an installed package, the hub's cache on this disk, the hub. Without
    ``pretrained`` the network is not used, nor are packages and cache looked at.

    Args:
        name: The backbone's timm name.
        pretrained: Whether weights are wanted: yes, no, or those that are to be had.
        file: A file of weights that was given.
        ask_network: Whether the hub may be asked.
        wanted_by: The setting that wants them, for a message.

    Raises:
        ModelError: Weights are wanted and there are none.
    """
    if file is not None:
        return StartingWeights("file", str(file), "model.weights", Path(file).expanduser())
    if pretrained is False:
        return StartingWeights("none", "", "model.pretrained=false")
    found = _installed(name) or _from_hub(name, ask_network=ask_network)
    if pretrained is True and not found:
        raise ModelError(
            f"{wanted_by}: there are no pretrained weights of {name}: {found.reason};{_package_hint(name)} go online"
            f" once (HF_HUB_OFFLINE unset), or {_instead_of(wanted_by)}"
        )
    return found


def fetch_weights(weights: StartingWeights, progress: Progress) -> StartingWeights:
    """Has the file of the weights on this disk, by download where it is not.

    Returns:
        The weights with their path and hash; as they were where their file is missing.

    Raises:
        ModelError: The download failed, or the file is not the one that was stored.
    """
    if weights.at_hub is not None:
        path = download_weights(weights.at_hub, progress)
        weights = replace(weights, path=path, at_hub=None)
    if weights.path is None or not weights.path.is_file():
        return weights
    stored = stored_sha256(weights.path) if weights.kind in {"cache", "hub"} else None
    return replace(weights, sha256=check_weights_file(weights.path, stored))


def _installed(name: str) -> StartingWeights | None:
    """The weights of an installed package or of the hub's cache."""
    packaged = packaged_weights(name)
    if packaged is not None:
        return StartingWeights("package", f"{describe_package(name)} (ImageNet)", "installed", packaged)
    config = hub_config(name)
    cached = cached_weights(config) if config is not None else None
    if config is None or cached is None:
        return None
    label = f"{config.hf_hub_id or cached.name} of the hub's cache"
    return StartingWeights("cache", label, f"on this disk: {cached.parent}", cached, config.license)


def _from_hub(name: str, *, ask_network: bool) -> StartingWeights:
    config = hub_config(name)
    if config is None:
        return StartingWeights("missing", "", f"timm has none for {name}")
    missing = "no installed package has them, nor the hub's cache on this disk"
    if not ask_network:
        return StartingWeights("missing", "", f"{missing}, and the hub was not asked")
    try:
        file = ask_hub(config)
    except HubUnavailableError as error:
        return StartingWeights("missing", "", f"{missing}; the hub: {error}")
    label = file.filename if "://" in file.repo else file.repo
    return StartingWeights("hub", label, f"by download from {constants.ENDPOINT}", None, config.license, file)


def _instead_of(wanted_by: str) -> str:
    """What to do without pretrained weights, by the setting that wants them."""
    if wanted_by.startswith("distill."):
        return "give a run or a checkpoint as distill.teacher"
    scratch = "recipe=scratch" if wanted_by.startswith("recipe=") else "model.pretrained=false"
    return f"give a file with model.weights=FILE, or train from scratch with {scratch}"


def _package_hint(name: str) -> str:
    package = package_of(name)
    return f" install the package {package} (extra weights)," if package is not None else ""
