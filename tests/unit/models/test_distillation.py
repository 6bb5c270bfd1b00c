from __future__ import annotations

import pytest
import torch
from tests.helpers.training import IMAGE_SIZE, make_model, snapshot

from classifier_training.errors import ModelError
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.distillation import Distillation, distillation_loss
from classifier_training.types import ClassificationBatch, Preprocessing

CLASSES = ("a", "b", "c", "d")
GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randint(0, 256, (3, 3, IMAGE_SIZE, IMAGE_SIZE), generator=GENERATOR) / 255
STUDENT = Preprocessing(IMAGE_SIZE, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))


def normalized(images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    return (images - mean) / std


def make_teacher(classes: tuple[str, ...] = CLASSES, image_size: int = IMAGE_SIZE) -> BaseClassificationModel:
    torch.manual_seed(5)
    return BaseClassificationModel("test_resnet", classes, image_size=image_size, settings={"drop_rate": 0.5}).train()


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_distance_follows_its_formula(temperature: float) -> None:
    logits, wanted = 3 * torch.randn(2, 5, 4, generator=GENERATOR)
    p, q = (values.double().div(temperature).softmax(dim=1) for values in (wanted, logits))
    expected = temperature**2 * (p * (p.log() - q.log())).sum(dim=1).mean()
    assert float(distillation_loss(logits, wanted, temperature)) == pytest.approx(float(expected), rel=1e-5)
    assert float(distillation_loss(wanted, wanted, temperature)) == pytest.approx(0.0, abs=1e-6)


def test_extreme_logits_have_finite_gradients() -> None:
    logits = (1e5 * torch.randn(5, 4, generator=GENERATOR)).requires_grad_()
    (found,) = torch.autograd.grad(distillation_loss(logits, -logits.detach(), 2.0), logits)
    assert bool(found.isfinite().all())


def test_the_teacher_sees_the_images_in_its_own_normalisation_and_order_of_classes() -> None:
    teacher = make_teacher(("c", "a", "d", "b"))
    distillation = Distillation(teacher, CLASSES, STUDENT)

    found = distillation.logits(normalized(IMAGES, STUDENT))

    with torch.no_grad():
        expected = teacher(normalized(IMAGES, teacher.preprocessing))[:, [1, 3, 0, 2]]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert not teacher.training
    assert not found.requires_grad


def test_images_are_resized_to_what_the_teacher_takes() -> None:
    sizes: list[torch.Size] = []
    teacher = make_teacher(image_size=48)
    teacher.backbone.register_forward_pre_hook(lambda _, inputs: sizes.append(inputs[0].shape))
    Distillation(teacher, CLASSES, STUDENT).logits(IMAGES)
    assert sizes == [torch.Size([3, 3, 48, 48])]


def test_a_step_takes_its_share_of_the_teacher_who_is_no_part_of_the_model() -> None:
    model = make_model()
    model.classes = CLASSES
    before = snapshot(model).keys()
    batch: ClassificationBatch = {"images": IMAGES, "labels": torch.tensor([0, 1, 2]), "indices": torch.arange(3)}
    plain = model.eval().training_step(batch, 0)

    model.distillation = Distillation(make_teacher(), CLASSES, model.preprocessing, weight=0.3, temperature=3.0)
    taught = model.training_step(batch, 0)

    distance = distillation_loss(model(IMAGES), model.distillation.logits(IMAGES), 3.0)
    torch.testing.assert_close(taught, 0.7 * plain + 0.3 * distance)
    assert snapshot(model).keys() == before
    learned = {id(parameter) for parameter in model.parameters()}
    assert not any(id(parameter) in learned for parameter in model.distillation.teacher.parameters())


def test_a_teacher_with_other_classes_is_refused() -> None:
    with pytest.raises(ModelError) as raised:
        Distillation(make_teacher(("a", "b", "x")), CLASSES, STUDENT, name="runs/a")
    assert str(raised.value) == (
        "distill.teacher=runs/a is a teacher with other classes: it has 3 (a, b, x), the photos have 4 (a, b, c and 1"
        " more), and it does not know c, d; give a run that was trained on these"
    )
