from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.helpers.photos import make_split_photos

from classifier_training.config import Config, load_config, to_yaml
from classifier_training.config.arguments import read_overrides
from classifier_training.errors import ConfigError, RunError
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.plan import make_plan
from classifier_training.training.resume import Resumed
from classifier_training.training.start import New, create_run_folder, find_start


@pytest.fixture(autouse=True)
def _main_process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_NTASKS", "SLURM_JOB_ID"):
        monkeypatch.delenv(name, raising=False)


def write_config(folder: Path, *overrides: str) -> Path:
    folder.mkdir(parents=True)
    file = folder / "config.yaml"
    file.write_text(to_yaml(load_config(list(overrides))))
    return file


def test_without_a_run_to_resume_a_new_one_starts() -> None:
    start = find_start(False, read_overrides("seed=3"), None)
    assert isinstance(start, New)
    assert start.config == load_config(["seed=3"])
    assert (start.checkpoint, start.best, start.is_trained) == (None, None, False)


def test_a_run_that_is_repeated_may_be_renamed_unless_a_name_is_given(tmp_path: Path) -> None:
    file = write_config(tmp_path / "runs" / "one", f"run.dir={tmp_path / 'runs'}", "run.name=one")
    start = find_start(False, read_overrides(), file)
    assert isinstance(start, New)
    assert start.may_rename
    with pytest.raises(RunError, match="exists already"):
        find_start(False, read_overrides("run.name=one"), file)


def test_a_name_that_is_taken_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    write_config(tmp_path / "one")
    with pytest.raises(RunError, match=r"one exists already .*--resume"):
        find_start(False, read_overrides(f"run.dir={tmp_path}", "run.name=one"), None)


def test_a_run_is_resumed_by_its_name_or_as_the_last_one(tmp_path: Path) -> None:
    write_config(tmp_path / "one", "optimizer.lr=0.5")
    for resume, overrides in ((tmp_path / "one", ()), (True, (f"run.dir={tmp_path}",))):
        start = find_start(resume, read_overrides(*overrides, "trainer.max_epochs=7"), None)
        assert isinstance(start, Resumed)
        assert (start.run.root, start.config.optimizer.lr) == (tmp_path / "one", 0.5)
        assert start.config.trainer.max_epochs == 7
        assert start.open_run(start.config) == start.run
    with pytest.raises(RunError, match="takes the run's own"):
        find_start(True, read_overrides(), tmp_path / "one" / "config.yaml")
    with pytest.raises(ConfigError, match=r"^sede=1 \(argument\): no such setting"):
        find_start(tmp_path / "one", read_overrides("sede=1"), None)


def test_a_new_run_makes_its_folder(tmp_path: Path) -> None:
    config = load_config([f"run.dir={tmp_path}", "run.name=one"])
    assert New(config).open_run(config).root == tmp_path / "one"
    assert (tmp_path / "one").is_dir()


OTHER_AUGMENTATION = (
    "this version augments colours and turns images in another way than the one that the run began with: its epochs"
    " from here on are not those that it would have had"
)
OTHER_ERASING = (
    "this version erases other parts of images than the one that the run began with: its epochs from here on are not"
    " those that it would have had"
)
LAST, EARLIER = (RunFolder(Path("runs/a")).checkpoints / name for name in ("last.ckpt", "last-1.ckpt"))


@pytest.mark.parametrize(
    ("resumed", "lines"),
    [
        ({"checkpoint": None}, ["no checkpoint yet: starting from the beginning"]),
        ({"checkpoint": LAST, "epoch": 3}, ["resuming at epoch 4"]),
        ({"checkpoint": LAST, "epoch": 3, "batch": 5}, ["resuming at epoch 4, batch 6"]),
        (
            {"checkpoint": LAST, "epoch": 3, "augmentation": 1},
            [
                f"warning: {OTHER_AUGMENTATION}",
                "resuming at epoch 4",
            ],
        ),
        (
            {
                "checkpoint": LAST,
                "epoch": 3,
                "augmentation": 1,
                "config": Config.model_validate({"data": {"color_jitter": 0.0}}),
            },
            ["resuming at epoch 4"],
        ),
        (
            {
                "checkpoint": LAST,
                "epoch": 3,
                "augmentation": 2,
                "config": Config.model_validate({"data": {"random_erasing": 0.1}}),
            },
            [f"warning: {OTHER_ERASING}", "resuming at epoch 4"],
        ),
        ({"checkpoint": LAST, "epoch": 3, "validation_left": True}, ["resuming at the validation of epoch 3"]),
        ({"checkpoint": LAST, "epoch": 20, "best": (3, 0.5)}, ["all 20 epochs are already trained: finishing"]),
        (
            {"checkpoint": LAST, "epoch": 9, "best": (3, 0.5), "stopped_early": True},
            ["all 9 epochs are already trained, by early stopping: finishing"],
        ),
        (
            {"checkpoint": EARLIER, "epoch": 1},
            [
                "warning: runs/a/checkpoints/last.ckpt is missing; resuming from last-1.ckpt, the one before",
                "resuming at epoch 2",
            ],
        ),
        (
            {"checkpoint": EARLIER, "epoch": 1, "unusable": ("last.ckpt is damaged",)},
            ["warning: last.ckpt is damaged; resuming from last-1.ckpt, the one before", "resuming at epoch 2"],
        ),
    ],
)
def test_where_a_run_resumes_is_printed(
    resumed: dict[str, object], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    Resumed(**{"run": RunFolder(Path("runs/a")), "config": Config(), **resumed}).describe(Terminal())  # type: ignore[arg-type]  # of each case
    captured = capsys.readouterr()
    assert sorted((captured.out + captured.err).splitlines()) == sorted(lines)


def test_the_folder_of_a_run_keeps_when_it_began_and_the_checkpoint_it_resumes_from(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos", train=2, val=1, test=1)
    settings = load_config(
        [f"data.root={photos}", "model.name=test_resnet", "model.pretrained=false", "trainer.accelerator=cpu"]
    )
    plan = make_plan(settings, Terminal(quiet=True))
    run = RunFolder(tmp_path / "run")
    run.checkpoints.mkdir(parents=True)
    create_run_folder(run, plan, None)
    began = json.loads(run.environment.read_text())["started"]
    assert load_config(file=run.config) == plan.config
    assert json.loads(run.environment.read_text())["weights"]["source"] == "none"
    assert run.split.is_file()
    assert not run.last_checkpoint.exists()

    run.best_checkpoint.write_bytes(b"best")
    run.environment.write_text(
        json.dumps({"started": "2020-01-01T00:00:00+00:00", "weights": {"source": "hub", "new": 1}})
    )
    create_run_folder(run, plan, run.best_checkpoint)
    assert json.loads(run.environment.read_text())["started"] == "2020-01-01T00:00:00+00:00" != began
    assert json.loads(run.environment.read_text())["weights"]["source"] == "hub"
    assert run.last_checkpoint.read_bytes() == b"best"


def test_what_was_typed_for_the_steps_of_a_training_is_warned_of_where_a_probe_takes_its_place() -> None:
    typed = read_overrides("recipe=finetune", "data.mix_prob=0.5", "distill.teacher=runs/a", "trainer.time_limit=9")
    config = load_config(typed)
    with pytest.warns(UserWarning, match="does nothing with recipe=probe") as warned:
        probe = New(config, overrides=typed).as_probe(config)
    assert [str(one.message).partition(" ")[0] for one in warned] == ["data.mix_prob=0.5", "distill.teacher=runs/a"]
    assert (probe.config.recipe.name, probe.config.distill.teacher, probe.overrides) == ("probe", None, None)


def test_what_was_typed_in_vain_is_refused_of_a_new_and_of_a_resumed_run(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^scheduler\.gamma=0\.5 \(argument\), "):
        find_start(False, read_overrides("scheduler.gamma=0.5"), None)
    write_config(tmp_path / "one", "scheduler.warmup_epochs=20", "ema.enabled=false", "ema.decay=0.9")
    assert isinstance(find_start(tmp_path / "one", read_overrides("trainer.max_epochs=9"), None), Resumed)
    with pytest.raises(ConfigError, match=r"^tracking\.project=leaves \(argument\), "):
        find_start(tmp_path / "one", read_overrides("tracking.project=leaves"), None)


def test_what_a_file_sets_in_vain_is_warned_of(tmp_path: Path) -> None:
    (tmp_path / "some.yaml").write_text("scheduler: {gamma: 0.5}\n")
    with pytest.warns(UserWarning, match=r"^scheduler\.gamma=0\.5 \(.*some\.yaml:1\), scheduler\.name=cosine"):
        assert isinstance(find_start(False, read_overrides(), tmp_path / "some.yaml"), New)
