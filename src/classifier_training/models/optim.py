"""Optimizers: PyTorch's AdamW and SGD as they are fastest, and all others by their name in timm."""

from __future__ import annotations

import difflib
import importlib.util
import inspect
import math
from collections.abc import Iterator
from typing import Any, cast

import timm.optim
import torch
from torch.optim import SGD, AdamW, Optimizer

from classifier_training.config.schema import OptimizerConfig
from classifier_training.errors import ConfigError

_timm = cast("Any", timm.optim)  # whose factory is public, but not in its __all__
_OWN = ("adamw", "sgd")
_PACKAGES = {"apex": "NVIDIA's Apex", "bitsandbytes": "bitsandbytes"}
_REFUSED = {
    "kron": "keeps random numbers that no checkpoint holds, so a resumed training would be another one",
    "lookahead": "does not let others count its steps; the average of the weights (ema.enabled) does the like",
}


def check_optimizer(config: OptimizerConfig, precision: str = "32-true") -> None:
    """Makes sure that there is such an optimizer, that a training can use it, and that it takes its settings.

    Args:
        config: Its settings.
        precision: Of the training.

    Raises:
        ConfigError: One line for each thing that is wrong.
    """
    faults = list(_faults(config))
    if config.sam_rho is not None and precision.startswith("16"):
        faults.append(
            f"optimizer.sam_rho={config.sam_rho:g} does not work with trainer.precision={precision}, whose gradients"
            " may be infinite; use trainer.precision=bf16-mixed or 32-true"
        )
    if faults:
        raise ConfigError("\n".join(faults))


def build_optimizer(groups: list[dict[str, Any]], config: OptimizerConfig, *, is_mixed: bool = False) -> Optimizer:
    """Builds the configured optimizer over `parameter_groups`, for automatic mixed precision or not.

    Raises:
        ConfigError: See `check_optimizer`.
    """
    check_optimizer(config)
    if config.name == "sgd":
        nesterov = config.momentum > 0 if config.nesterov is None else config.nesterov
        return SGD(groups, lr=config.peak_lr, momentum=config.momentum, nesterov=nesterov)
    if config.name != "adamw":
        return _from_timm(groups, config)
    kinds = {parameter.device.type for group in groups for parameter in group["params"]}
    first, second = cast("tuple[float, float]", config.betas or (config.momentum, 0.999))
    eps = 1e-8 if config.eps is None else config.eps
    optimizer = AdamW(
        groups, lr=config.peak_lr, betas=(first, second), eps=eps, fused=_is_fused(kinds, is_mixed=is_mixed)
    )
    # a fused optimizer offers to unscale gradients itself, so Lightning refuses to clip them in mixed precision, also
    # where nothing scales them; without the offer they are unscaled before they are clipped, as for other optimizers
    optimizer._step_supports_amp_scaling = False
    return optimizer


def _is_fused(kinds: set[str], *, is_mixed: bool) -> bool | None:
    """Whether parameters on such devices are updated by one fused kernel, much the fastest; None: as torch does."""
    return True if kinds == {"cuda"} or (kinds == {"cpu"} and not is_mixed) else None


def _from_timm(groups: list[dict[str, Any]], config: OptimizerConfig) -> Optimizer:
    """An optimizer of timm; what is not set is as timm has it."""
    given = {"betas": config.betas, "eps": config.eps, "nesterov": config.nesterov}
    options = {name: value for name, value in given.items() if value is not None}
    options |= {"lr": config.peak_lr, "weight_decay": config.weight_decay, "momentum": config.momentum}
    return cast("Optimizer", _timm.create_optimizer_v2(groups, config.name, **options))


def _faults(config: OptimizerConfig) -> Iterator[str]:
    name = config.name
    for refused, reason in _REFUSED.items():
        if name.startswith(refused):
            yield f"optimizer.name={name}: {refused} {reason}; use adamw, say"
            return
    if name not in _timm.list_optimizers():
        near = difflib.get_close_matches(name, _timm.list_optimizers(), n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "timm.optim.list_optimizers() lists them all"
        yield f"optimizer.name={name!r} is not an optimizer of timm; {hint}"
        return
    info = _timm.get_optimizer_info(name)
    if getattr(info, "second_order", False):
        yield f"optimizer.name={name} needs second derivatives, which this training does not compute; use adamw, say"
    if isinstance(info.opt_class, str):
        package = info.opt_class.partition(".")[0]
        if importlib.util.find_spec(package) is None:
            yield f"optimizer.name={name} needs {_PACKAGES.get(package, package)}, which is not installed"
        elif not torch.cuda.is_available():
            yield f"optimizer.name={name} needs an NVIDIA GPU, and there is none; use adamw, say"
        return
    yield from _unused(config, info)


def _unused(config: OptimizerConfig, info: Any) -> Iterator[str]:
    """What is set and the optimizer does not take."""
    name, betas = config.name, config.betas
    if betas is not None and not info.has_betas:
        yield f"optimizer.betas={[*betas]}: {name} has none; leave it out"
    elif betas is not None and len(betas) != info.num_betas:
        yield f"optimizer.betas={[*betas]}: {name} takes {info.num_betas} numbers"
    if config.eps is not None and not info.has_eps:
        yield f"optimizer.eps={config.eps:g}: {name} has none; leave it out"
    if config.nesterov is not None and "nesterov" not in inspect.signature(info.opt_class).parameters:
        yield f"optimizer.nesterov={str(config.nesterov).lower()}: {name} has none; leave it out"
    is_default = math.isclose(config.momentum, type(config).model_fields["momentum"].default)
    if name not in _OWN and not info.has_momentum and not is_default:
        instead = "set optimizer.betas" if info.has_betas else "leave it out"
        yield f"optimizer.momentum={config.momentum:g}: {name} has none; {instead}"
