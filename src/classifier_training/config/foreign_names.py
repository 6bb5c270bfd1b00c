"""What other trainers call our settings: Ultralytics, timm's scripts, Keras, fastai, Lightning, Hugging Face.

The command line uses the table for flags (``--epochs 5``), the settings for assignments (``epochs=5``).
"""

from __future__ import annotations

import re
from typing import Final

from classifier_training.config.options import option_table
from classifier_training.config.preset_groups import PRESET_GROUPS, preset_names
from classifier_training.config.timm_policies import translate_policy

PHOTOS: Final = frozenset({"data", "data_dir", "data_path", "dataset", "images", "input", "photos", "root", "source"})
"""Names for the photos, which are an argument and not a setting here; as a setting they are ``data.root``."""
_NAMES: Final = {
    "data.auto_augment": "aa aug autoaugment",
    "data.batch_size": "b batch bs per_device_train_batch_size",
    "data.gaussian_blur": "gaussian_blur_prob",
    "data.grayscale": "grayscale_prob",
    "data.cutmix": "cutmix_alpha",
    "data.hflip": "fliplr",
    "data.hue": "hsv_h",
    "data.image_size": "img img_size imgsz input_size",
    "data.mix_off_epochs": "mixup_off_epoch",
    "data.mix_prob": "mixup_prob",
    "data.mix_switch_prob": "mixup_switch_prob",
    "data.mixup": "mixup_alpha",
    "data.num_workers": "j workers",
    "data.random_erasing": "reprob",
    "data.vflip": "flipud",
    "ema.decay": "model_ema_decay",
    "ema.enabled": "model_ema",
    "export.opset_version": "opset",
    "loss.label_smoothing": "smoothing",
    "loss.name": "criterion loss",
    "model.compile": "torchcompile",
    "model.drop_path_rate": "drop_path",
    "model.drop_rate": "drop dropout",
    "model.freeze_epochs": "freeze",
    "model.name": "a arch backbone model model_name",
    "model.weights": "initial_checkpoint",
    "optimizer.eps": "adam_epsilon epsilon opt_eps",
    "optimizer.layer_decay": "layerwise_lr_decay llrd",
    "optimizer.lr": "base_lr learning_rate lr0",
    "optimizer.name": "opt optim optimizer",
    "optimizer.weight_decay": "wd",
    "run.dir": "log_dir out output output_dir project save_dir",
    "run.name": "exp_name experiment name run_name",
    "scheduler.min_lr_ratio": "lrf",
    "scheduler.name": "lr_scheduler lr_scheduler_type sched scheduler",
    "seed": "random_seed",
    "tracking.wandb": "log_wandb",
    "trainer.accelerator": "device",
    "trainer.accumulate_grad_batches": "accumulate grad_accum_steps gradient_accumulation_steps",
    "trainer.devices": "gpus",
    "trainer.early_stopping_patience": "patience",
    "trainer.gradient_clip_val": "clip_grad grad_clip",
    "trainer.max_epochs": "epoch epochs num_epochs num_train_epochs",
    "trainer.time_limit": "max_time",
}
"""Foreign names by our setting; names that equal the last part of a setting's key need no entry."""
SETTINGS: Final = {name: key for key, names in _NAMES.items() for name in names.split()}
SWITCHES: Final = {
    "amp": {"true": "trainer.precision=auto", "false": "trainer.precision=32-true"},
    "auto_find_batch_size": {"true": "data.batch_size=auto", "false": "data.batch_size=32"},
    "auto_scale_batch_size": {"true": "data.batch_size=auto", "false": "data.batch_size=32"},
    "bf16": {"true": "trainer.precision=bf16-mixed", "false": "trainer.precision=32-true"},
    "fp16": {"true": "trainer.precision=16-mixed", "false": "trainer.precision=32-true"},
    "half": {"true": "trainer.precision=16-mixed", "false": "trainer.precision=32-true"},
    "no_aug": {"true": "data.auto_augment=none", "false": "data.auto_augment=randaugment"},
    "no_cuda": {"true": "trainer.accelerator=cpu", "false": "trainer.accelerator=gpu"},
}
"""The assignment that a switch means, on and off."""
DEVICES: Final = frozenset({"device", "devices", "gpu", "gpu_ids", "gpus"})
_TRUTH = {"true": "true", "1": "true", "yes": "true", "false": "false", "0": "false", "no": "false"}


def setting_of(name: str) -> str | None:
    """The setting that a name of another trainer, or the last part of a setting's key, means."""
    name = name.lower().replace("-", "_")
    if name in SWITCHES:
        return SWITCHES[name]["true"].partition("=")[0]
    if name in PHOTOS:
        return "data.root"
    if name in SETTINGS or name in option_table():
        return SETTINGS.get(name, name)
    same_leaf = [key for key in option_table() if key.rpartition(".")[2] == name]
    return same_leaf[0] if len(same_leaf) == 1 else None


def takes_value(name: str) -> bool:
    """Whether a flag of this name is followed by a value, unlike ``--pretrained`` and ``--amp``."""
    key = setting_of(name)
    return name not in SWITCHES and not (key is not None and option_table()[key].type.startswith("bool"))


def translate(name: str, value: str | None) -> list[str] | None:
    """The words to type for a setting of another trainer.

    Args:
        name: The foreign name without dashes, such as ``epochs`` or ``batch-size``.
        value: Its value; None for a flag without one.

    Returns:
        Assignments such as ``trainer.max_epochs=5``, with ``CUDA_VISIBLE_DEVICES=…`` first where devices are chosen by
        number; None for a name that is not known.
    """
    name = name.lower().replace("-", "_")
    if name.startswith("no_") and name not in SWITCHES and setting_of(name[3:]) and not takes_value(name[3:]):
        name, value = name[3:], "false"
    if name in DEVICES:
        return _devices(name, (value or "auto").lower())
    if name in SWITCHES:
        return [SWITCHES[name][_TRUTH.get((value or "true").lower(), "true")]]
    if name in {"model", "model_name", "arch", "a", "backbone"} and value in preset_names("model"):
        return [f"model={value}"]
    if name in PRESET_GROUPS and value in preset_names(name):
        return [f"{name}={value}"]
    key = setting_of(name)
    if key is None:
        return None
    policy = translate_policy(value or "") if key == "data.auto_augment" else None
    if policy is not None:
        return policy
    option = option_table()[key]
    if key == "data.batch_size" and re.fullmatch(r"-1|0?\.\d+", value or ""):
        return ["data.batch_size=auto"]  # Ultralytics: the most that fits, or a share of the memory
    if value is None:
        value = "true" if option.type.startswith("bool") else option.default if option.default != "null" else "VALUE"
    is_constant = bool(option.choices) or option.type.startswith("bool") or key == "optimizer.name"
    return [f"{key}={value.lower() if is_constant else value}"]


def _devices(name: str, value: str) -> list[str]:
    """Which devices, as Ultralytics (``0,1``, ``cpu``), PyTorch (``cuda:1``) and Lightning (``gpus=2``) write it."""
    numbers = re.findall(r"\d+", value)
    if value in {"cpu", "mps", "auto"}:
        return [f"trainer.accelerator={value}"]
    if name in {"gpus", "devices"} and value.isdecimal():
        return ["trainer.accelerator=cpu"] if value == "0" else ["trainer.accelerator=gpu", f"trainer.devices={value}"]
    if numbers and not value.startswith("-"):
        return [
            f"CUDA_VISIBLE_DEVICES={','.join(numbers)}",
            "trainer.accelerator=gpu",
            f"trainer.devices={len(numbers)}",
        ]
    return ["trainer.accelerator=auto" if value.startswith("-") else "trainer.accelerator=gpu"]
