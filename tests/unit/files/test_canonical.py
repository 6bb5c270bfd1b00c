from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from typing import Any

import torch

from classifier_training.files.canonical import canonical


def saved(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


def make_state() -> dict[str, Any]:
    """What a checkpoint is made of; some texts in it are one object."""
    name = "weight"
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    return {
        "state_dict": model.state_dict(),
        "groups": [{name: 1, "lr": 0.1}, {name: 2, "lr": 0.1}],
        "betas": (0.9, 0.999, None, True, name),
        name: [name, {name: OrderedDict(a=1)}],
    }


def test_a_state_that_was_read_from_a_file_is_the_same_file_again() -> None:
    state = make_state()
    again = torch.load(io.BytesIO(saved(state)), weights_only=True)
    again["groups"][1] = {"".join(key): value for key, value in again["groups"][1].items()}
    assert saved(again) != saved(state), "else this test shows nothing"
    assert saved(canonical(again)) == saved(canonical(state))


def test_nothing_is_changed_in_it() -> None:
    state = make_state()
    rebuilt = canonical(state)
    assert pickle.dumps(rebuilt["groups"]) == pickle.dumps(canonical(state["groups"]))
    assert (rebuilt["groups"], rebuilt["betas"]) == (state["groups"], state["betas"])
    assert list(rebuilt) == list(state)
    assert type(rebuilt["state_dict"]) is OrderedDict
    assert rebuilt["state_dict"]._metadata == state["state_dict"]._metadata  # type: ignore[attr-defined]  # torch's
    for key, tensor in state["state_dict"].items():
        assert rebuilt["state_dict"][key] is tensor


def test_different_values_stay_different() -> None:
    assert saved(canonical({"a": [1, 2]})) != saved(canonical({"a": [1, 3]}))
    assert saved(canonical({"a": 1, "b": 2})) != saved(canonical({"b": 2, "a": 1}))
