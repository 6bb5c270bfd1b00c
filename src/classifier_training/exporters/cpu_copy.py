"""A copy of a model to export: on the CPU, uncompiled, in evaluation mode; the original is not touched."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from classifier_training.errors import ExportError


def cpu_copy(model: nn.Module, state_dict: Mapping[str, Tensor] | None = None) -> nn.Module:
    """Copies a model straight to the CPU, without a second copy on its device.

    Args:
        model: On any device, in any mode, possibly compiled.
        state_dict: Weights to load into the copy, with the keys of ``model.state_dict()``; None keeps the model's.

    Returns:
        A float32 model in evaluation mode.

    Raises:
        ExportError: The model cannot be copied.
        RuntimeError: ``state_dict`` does not fit the model.
    """
    memo: dict[int, Any] = {id(buffer): buffer.detach().to("cpu", copy=True) for buffer in model.buffers()}
    for parameter in model.parameters():
        memo[id(parameter)] = nn.Parameter(parameter.detach().to("cpu", copy=True), requires_grad=False)
    try:
        copied = copy.deepcopy(model, memo)
        for module in copied.modules():
            _forget_compiled_calls(module, memo)
    except Exception as error:  # any attribute of the user's module may refuse
        raise ExportError(
            f"{type(model).__name__} cannot be copied for the export: {type(error).__name__}: {error}; keep no tensors"
            " with a gradient history, open files or locks as attributes of the module"
        ) from error
    if state_dict is not None:
        copied.load_state_dict(state_dict)
    return _unwrap(copied).float().eval()


def _forget_compiled_calls(module: nn.Module, memo: dict[int, Any]) -> None:
    """Binds a compiled method of the copy to the copy: deepcopy leaves the function, which runs the original."""
    for name, value in list(vars(module).items()):
        original = getattr(value, "_torchdynamo_orig_callable", None)
        if original is not None and not isinstance(value, nn.Module):
            setattr(module, name, copy.deepcopy(original, memo))


def _unwrap(model: nn.Module) -> nn.Module:
    """Replaces what ``torch.compile(module)`` returned by the module inside."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if _is_compiled(child):
                setattr(module, name, child._orig_mod)
    inner = model._orig_mod if _is_compiled(model) else model
    if not isinstance(inner, nn.Module):
        raise ExportError(f"{type(model).__name__} cannot be uncompiled for the export")
    return inner


def _is_compiled(module: nn.Module) -> bool:
    return type(module).__name__ == "OptimizedModule" and hasattr(module, "_orig_mod")
