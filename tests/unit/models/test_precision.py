from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tests.helpers.training import LIGHTNING_NOTICES, make_loader, make_model
from torch import Tensor, nn

from classifier_training.evaluation.checkpoint import score_model
from classifier_training.models.precision import _BACKENDS, Precision, exact_float32

pytestmark = LIGHTNING_NOTICES


def settings() -> list[str]:
    return [backend.fp32_precision for backend in _BACKENDS]


@pytest.fixture
def rounding() -> Iterator[list[str]]:
    """Whatever may round the factors of a product in float32 is allowed to."""
    before, matmul = settings(), torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    yield settings()
    torch.set_float32_matmul_precision(matmul)
    for backend, value in zip(_BACKENDS, before, strict=True):
        backend.fp32_precision = value


def test_within_the_block_nothing_is_rounded_and_afterwards_all_is_as_before(rounding: list[str]) -> None:
    assert "tf32" in rounding
    with exact_float32():
        assert settings() == ["ieee"] * len(rounding)
        assert torch.backends.cudnn.conv.fp32_precision == "ieee"  # type: ignore[attr-defined]  # made at import
    assert settings() == rounding
    assert (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32) == (True, True)


@pytest.mark.parametrize(
    ("precision", "is_exact", "dtype"),
    [("float32", True, torch.float32), ("32-true", False, torch.float32), ("bf16-mixed", False, torch.bfloat16)],
)
def test_scoring_computes_as_it_is_told(
    rounding: list[str], precision: Precision, is_exact: bool, dtype: torch.dtype
) -> None:
    class Noting(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append((settings(), self.layer(images.flatten(1)).dtype))
            logits: Tensor = model(images)
            return logits

        layer = nn.Linear(3 * 32**2, 2)

    seen: list[tuple[list[str], torch.dtype]] = []
    model = make_model().eval()

    score_model(Noting().eval(), make_loader(2), 4, device=torch.device("cpu"), precision=precision)

    assert seen == [(["ieee"] * len(rounding) if is_exact else rounding, dtype)] * 2
    assert settings() == rounding
