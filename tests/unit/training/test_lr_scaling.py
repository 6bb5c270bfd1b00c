from __future__ import annotations

import pytest
from tests.helpers.training import make_config

from classifier_training.run.place import Place
from classifier_training.training.lr_scaling import describe_scaling, images_of_step, scale_lr


@pytest.mark.parametrize(("scaling", "lr"), [("linear", 0.004), ("sqrt", 0.002)])
def test_the_learning_rate_grows_with_the_images_of_a_step(scaling: str, lr: float) -> None:
    optimizer = make_config(optimizer={"lr": 0.001, "lr_base_batch_size": 256, "lr_scaling": scaling}).optimizer
    scaled = scale_lr(optimizer, 1024)
    assert scaled.lr == pytest.approx(lr)
    assert scaled.lr_base_batch_size == 1024
    assert scale_lr(scaled, 1024) is scaled, "what is decided is decided once"
    assert scale_lr(scaled, 256).lr == pytest.approx(0.001)
    rule = "in proportion" if scaling == "linear" else "with the square root"
    assert describe_scaling(optimizer, scaled) == f"{lr:g} for 1024 images a step: 0.001 for 256, scaled {rule}"
    assert describe_scaling(scaled, scaled) is None


def test_it_is_what_is_given_where_nothing_is_said() -> None:
    optimizer = make_config().optimizer
    assert scale_lr(optimizer, 4096) is optimizer


def test_all_devices_and_all_batches_of_a_step_count() -> None:
    config = make_config(data={"batch_size": 8}, trainer={"accumulate_grad_batches": 3})
    assert images_of_step(config, Place("none", num_devices=2, num_nodes=2)) == 96
