"""The processes of a training start, meet, and end together, whoever has started them."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.cli import TINY, WarmProgram, read_until
from tests.helpers.ranks import run_ranks

from classifier_training import train
from classifier_training.config import load_config
from classifier_training.errors import UserError

SETTINGS = (*TINY, "trainer.max_epochs=1", "export.enabled=false", "data.test_fraction=0.3")


@pytest.fixture
def meeting() -> dict[str, str]:
    """The variables of the first of two machines."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1]), "NODE_RANK": "0"}


# -- processes that are started here ------------------------------------------------------------------------------

SCRIPT = """
import sys
from pathlib import Path
import mine
from classifier_training import evaluate, predict, train

photos, *settings = sys.argv[1:]
with Path("times.txt").open("a") as file:
    file.write("once\\n")
result = train(photos, *settings)
print("top1", result.test.top1)
print("again", evaluate(result.run).scores.top1)
print("label", predict(result.run, photos)[0].label)
"""
BACKBONE = """
import os, timm
from timm.models import register_model

class Failing(timm.models.ByobNet):
    def forward(self, images):
        if self.training and os.environ.get("LOCAL_RANK") == "1" and os.environ.get("FAILS"):
            raise ValueError("this backbone fails on the second device")
        return super().forward(images)

@register_model
def my_net(pretrained=False, **options):
    net = timm.create_model("test_byobnet", **options)
    net.__class__ = Failing
    return net
"""


def test_a_script_runs_once_and_gets_the_result_of_all_devices(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    """As the README's example, with a backbone of its own."""
    (tmp_path / "mine.py").write_text(BACKBONE)
    settings = (*SETTINGS, "model.name=my_net", "export.enabled=true", "trainer.devices=2")
    script = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{SCRIPT}"

    finished = program.python(script, photos, *settings, folder=tmp_path)

    assert finished.code == 0, finished
    assert "Error" not in finished.err, finished
    assert (tmp_path / "times.txt").read_text() == "once\n"
    answers = dict(line.split() for line in finished.out.splitlines() if line.startswith(("top1 ", "again ", "label ")))
    assert answers.keys() == {"top1", "again", "label"}, finished
    assert answers["top1"] == answers["again"]
    assert finished.out.count("run folder: ") == 1


def test_what_fails_on_another_device_is_told_in_one_line(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(BACKBONE)
    script = (
        f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport mine\n"
        "import classifier_training.cli as cli\ncli.main(sys.argv[1:])"
    )
    words = ("train", photos, *SETTINGS, "model.name=my_net", "trainer.devices=2", "run.name=failing")

    finished = program.python(script, *words, folder=tmp_path, environment={"FAILS": "1"})

    assert finished.code == 1, finished
    errors = [line for line in finished.err.splitlines() if line.startswith("error: ")]
    assert errors == ["error: ValueError: this backbone fails on the second device (in process 1 of 2, from 0)"]


def test_a_backbone_of_the_script_itself_is_refused(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    script = f"{BACKBONE}\nimport sys, classifier_training.cli as cli\ncli.main(sys.argv[1:])"
    script = script.replace("@register_model", "__name__ = '__main__'\n@register_model")

    finished = program.python(
        script, "train", photos, *SETTINGS, "model.name=my_net", "trainer.devices=2", folder=tmp_path
    )

    assert finished.code == 2, finished
    (line,) = finished.err.splitlines()
    assert line.startswith("error: model.name=my_net is registered by the script itself")
    assert not (tmp_path / "runs").exists()


# -- processes that somebody else has started ---------------------------------------------------------------------


def train_twice(folder: Path, world_size: int, photos: str) -> Any:
    results = []
    for name in ("one", "two"):
        words = (*SETTINGS, f"trainer.devices={world_size}", f"run.dir={folder / 'runs'}", f"run.name={name}")
        result = train(photos, *words, quiet=True)
        assert result is not None
        results.append([str(result.run), result.test.top1, result.test.confusion.tolist()])
    return results


def test_every_process_gets_the_same_result(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    first, second = run_ranks(program, train_twice, 2, tmp_path / "ranks", photos=str(photos))
    assert first == second
    assert [Path(run).name for run, *_ in first] == ["one", "two"]
    assert first[0][1:] == first[1][1:]


def train_something_else(folder: Path, world_size: int, photos: str) -> Any:
    words = (*SETTINGS, "trainer.devices=2", f"run.dir={folder / 'runs'}", f"seed={os.environ['LOCAL_RANK']}")
    try:
        train(photos, *words, quiet=True)
    except (UserError, SystemExit) as error:
        return [type(error).__name__, str(error)]
    return None


def test_processes_of_different_trainings_do_not_train_together(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    first, second = run_ranks(program, train_something_else, 2, tmp_path / "ranks", photos=str(photos))
    assert first[0] == "RunError"
    assert "would train something else: seed (0 here, 1 there)" in first[1]
    assert second == ["SystemExit", "2"]
    assert not (tmp_path / "ranks" / "runs").exists()


# -- waiting for another machine ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "code", "told"),
    [(signal.SIGTERM, 0, "stopped by SIGTERM before training; nothing was written"), (signal.SIGINT, 130, "")],
)
def test_waiting_for_a_machine_is_told_and_can_be_stopped(
    program: WarmProgram, photos: Path, tmp_path: Path, meeting: dict[str, str], number: int, code: int, told: str
) -> None:
    words = ("train", photos, *SETTINGS, "trainer.num_nodes=2")
    with program.started(*words, folder=tmp_path, environment=meeting) as process:
        said = read_until(process, "waiting at")
        os.kill(process.pid, number)
        ended = process.end()
    address = f"127.0.0.1:{meeting['MASTER_PORT']}"
    assert f"waiting at {address} for 1 of 2 processes (rank 1), at most 10 min 0 s; Ctrl-C or SIGTERM stops" in said
    assert ended.code == code, ended
    assert told in ended.out
    assert "Traceback" not in ended.out
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("node", "message"),
    [("0", "for 1 of 2 processes (rank 1) (trainer.join_timeout_seconds)"), ("1", "did not answer at 127.0.0.1:")],
)
def test_waiting_has_a_limit(
    program: WarmProgram, photos: Path, tmp_path: Path, meeting: dict[str, str], node: str, message: str
) -> None:
    words = ("train", photos, *SETTINGS, "trainer.num_nodes=2", "trainer.join_timeout_seconds=0.1")
    finished = program(*words, folder=tmp_path, environment={**meeting, "NODE_RANK": node})
    assert finished.code == 2, finished
    errors = [line for line in finished.err.splitlines() if not line.startswith("waiting for the first process at")]
    assert len(errors) == 1, finished
    assert message in errors[0]
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("settings", "environment", "message"),
    [
        ("trainer.num_nodes=2", {}, "MASTER_ADDR and MASTER_PORT must be set on every machine"),
        ("trainer.devices=1", {"SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}, "type --ntasks-per-node=2 instead"),
        ("trainer.devices=2", {"LOCAL_RANK": "0", "WORLD_SIZE": "3"}, "WORLD_SIZE=3 is set, and trainer.devices=2"),
        ("trainer.devices=2", {"MASTER_ADDR": "nowhere.invalid"}, "MASTER_ADDR=nowhere.invalid: no machine"),
        ("trainer.devices=2", {"MASTER_ADDR": "192.0.2.1"}, "MASTER_ADDR=192.0.2.1 is not an address of this machine"),
    ],
)
def test_mistakes_of_launchers_are_found_before_anything_is_written(
    program: WarmProgram, photos: Path, tmp_path: Path, settings: str, environment: dict[str, str], message: str
) -> None:
    if "MASTER_ADDR" in environment:
        environment = {"LOCAL_RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "29577", **environment}
    finished = program("train", photos, *SETTINGS, settings, folder=tmp_path, environment=environment)
    assert finished.code == 2, finished
    (line,) = finished.err.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert not (tmp_path / "runs").exists()


def test_a_port_that_is_in_use_is_named(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:  # noqa: S104 - as the store does
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1]), "NODE_RANK": "0"}
        finished = program("train", photos, *SETTINGS, "trainer.num_nodes=2", folder=tmp_path, environment=meeting)
    assert finished.code == 2, finished
    assert f"MASTER_PORT={meeting['MASTER_PORT']}: the port is in use" in finished.err.splitlines()[-1]


def test_what_was_decided_is_in_the_run(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    finished = program("train", photos, *SETTINGS, "run.name=mine", "trainer.accelerator=auto", folder=tmp_path)
    assert finished.code == 0, finished
    trainer = load_config(file=tmp_path / "runs" / "mine" / "config.yaml").trainer
    assert isinstance(trainer.devices, int)
    assert trainer.precision != "auto"
    assert trainer.accelerator in {"cpu", "cuda", "mps"}
