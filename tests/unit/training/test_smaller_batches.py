from __future__ import annotations

import pytest
from tests.helpers.training import make_config

from classifier_training.training.smaller_batches import with_smaller_batches


@pytest.mark.parametrize(
    ("batch_size", "num_accumulated", "share", "expected"),
    [
        (32, 1, 1000, (16, 2)),
        (16, 2, 1000, (8, 4)),
        (2, 1, 1000, (1, 2)),
        (33, 1, 1000, (11, 3)),
        (31, 1, 1000, (1, 31)),
        (64, 1, 20, (10, 2)),
        (64, 3, 21, (7, 9)),
    ],
)
def test_a_step_keeps_its_images(batch_size: int, num_accumulated: int, share: int, expected: tuple[int, int]) -> None:
    config = make_config(data={"batch_size": batch_size}, trainer={"accumulate_grad_batches": num_accumulated})

    smaller = with_smaller_batches(config, share)

    assert smaller is not None
    assert (smaller.data.batch_size, smaller.trainer.accumulate_grad_batches) == expected
    sections = {"data": config.data, "trainer": config.trainer}
    assert smaller.model_copy(update=sections) == config


@pytest.mark.parametrize(("batch_size", "share"), [(1, 100), (8, 1)])
def test_there_is_nothing_smaller_than_one_image(batch_size: int, share: int) -> None:
    assert with_smaller_batches(make_config(data={"batch_size": batch_size}), share) is None
