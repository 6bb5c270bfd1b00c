from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.helpers.tracking import EVERYWHERE

from classifier_training.config.schema import TrackingConfig
from classifier_training.errors import ConfigError
from classifier_training.tracking.opening import TRACKERS, check_trackers


def test_the_table_has_every_module_with_a_tracker() -> None:
    import classifier_training.tracking as package

    modules = {path.stem: path.read_text(encoding="utf-8") for path in Path(package.__path__[0]).glob("*.py")}
    of_trackers = {name for name, text in modules.items() if "Tracker:\n" in text and "(Protocol)" not in text}
    assert of_trackers == set(TRACKERS), "a tracker is a module of tracking/ and a line in tracking/opening.py"
    assert set(TRACKERS) <= set(TrackingConfig.model_fields)


def test_installed_libraries_are_no_fault() -> None:
    check_trackers(EVERYWHERE)
    check_trackers(TrackingConfig())


@pytest.fixture
def _nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a folder where runs were tracked, in an environment without the extras."""
    for name in TRACKERS:
        (tmp_path / name).mkdir()
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.setattr(sys, "path_importer_cache", {})


@pytest.mark.usefixtures("_nothing_installed")
def test_a_missing_library_is_a_fault_with_its_remedy() -> None:
    with pytest.raises(ConfigError) as caught:
        check_trackers(EVERYWHERE)
    lines = str(caught.value).splitlines()
    assert [line.split("=")[0] for line in lines] == ["tracking.tensorboard", "tracking.wandb", "tracking.mlflow"]
    assert lines[1] == (
        "tracking.wandb=true needs the package wandb, which is not installed; install it with"
        " pip install 'classifier-training[wandb]', or set tracking.wandb=false"
    )


@pytest.mark.usefixtures("_nothing_installed")
def test_tensorboard_is_only_used_where_it_is_installed() -> None:
    check_trackers(TrackingConfig(tensorboard="auto"))


def test_a_password_among_the_settings_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_PASSWORD") as caught:
        check_trackers(TrackingConfig(mlflow_uri="http://me:secret@host"))
    assert "secret" not in str(caught.value)


def test_checking_imports_no_library() -> None:
    code = (
        "import sys\n"
        "from classifier_training.config.schema import TrackingConfig\n"
        "from classifier_training.tracking.opening import check_trackers\n"
        "check_trackers(TrackingConfig(tensorboard=True, wandb=True, mlflow=True))\n"
        "print({'tensorboard', 'wandb', 'mlflow', 'torch', 'numpy'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")
