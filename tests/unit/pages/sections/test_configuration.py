from __future__ import annotations

from pathlib import Path

from tests.helpers.page_data import make_run
from tests.helpers.run_folders import RunMaker

from classifier_training.pages.read.run_data import read_run
from classifier_training.pages.sections.configuration import MOST_FILES, configuration_section, settings_by_section


def test_settings_have_the_keys_that_are_typed() -> None:
    config = {
        "seed": 3,
        "data": {"root": "00", "train_scale": [0.35, 1.0], "cache_dir": None},
        "ema": {"enabled": True},
    }

    assert settings_by_section(config) == [
        ("general", [("seed", "3")]),
        ("data", [("data.root", "00"), ("data.train_scale", "[0.35, 1.0]"), ("data.cache_dir", "null")]),
        ("ema", [("ema.enabled", "true")]),
    ]


def test_commands_have_titles() -> None:
    commands = {"repeat": "train --config x", "predict": "predict model.onnx", "unknown": "do it"}

    assert configuration_section(make_run(commands=commands)).values["commands"] == [
        ("Predict photos", "predict model.onnx"),
        ("Repeat this training", "train --config x"),
        ("unknown", "do it"),
    ]


def test_the_environment_is_a_list() -> None:
    environment = {
        "seed": 0,
        "git_commit": None,
        "versions": {"torch": "2.9"},
        "cpu": {"count": 8},
        "memory_bytes": 25_276_510_208,
        "gpus": [],
        "command": ["classifier-training", "train"],
    }
    rows = dict(configuration_section(make_run(environment=environment)).values["environment"])

    assert rows == {
        "seed": "0",
        "git commit": "none",
        "torch": "2.9",
        "cpu count": "8",
        "memory": "25.3\N{NO-BREAK SPACE}GB",
        "gpus": "none",
        "command": "classifier-training train",
    }


def test_files_are_listed_without_the_small_images(tmp_path: Path) -> None:
    run = RunMaker(2, num_images=8, num_pictures=2).make(tmp_path)
    (tmp_path / ".hidden").touch()
    files = dict(configuration_section(read_run(run.root)).values["files"])

    assert {"config.yaml", "export/model.onnx", "test/pictures.json"} <= files.keys()
    assert files["export/model.onnx"] == "4.0\N{NO-BREAK SPACE}kB"
    assert not [name for name in files if name.startswith((".", "test/pictures/"))]


def test_a_huge_folder_is_not_listed_whole(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 5):
        (tmp_path / str(number)).touch()

    assert len(configuration_section(make_run(root=tmp_path)).values["files"]) == MOST_FILES


def test_a_folder_that_is_gone_has_no_files(tmp_path: Path) -> None:
    assert configuration_section(make_run(root=tmp_path / "gone")).values["files"] == []


def test_the_size_and_speed_of_the_model(tmp_path: Path) -> None:
    rows = dict(configuration_section(read_run(RunMaker(2, num_images=4).make(tmp_path).root)).values["model"])

    assert rows["parameters"] == "11,178,051"
    assert rows["input"] == "3 × 224 × 224"
    assert rows["operations for one photo"] == "3.65 GFLOPs (a multiply-add is two)"
    assert rows["time for one photo"] == "21.5 ms (95 of 100 under 24 ms) on cpu"
