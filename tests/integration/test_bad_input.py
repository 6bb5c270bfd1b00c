"""A mistake of the user is one clear line and exit code 2, and leaves nothing behind."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import torch
from tests.helpers.cli import TINY, Finished, Trained, WarmProgram, make_shapes

from classifier_training.run.folder import RunFolder


@pytest.fixture
def refused(program: WarmProgram, tmp_path: Path) -> Callable[..., list[str]]:
    """Runs a command that must be refused, and gives the lines that it said."""

    def run(*words: str | Path) -> list[str]:
        before = files(tmp_path)
        finished = program(*words, folder=tmp_path)
        assert finished.code == 2, finished
        assert "Traceback" not in finished.err
        assert files(tmp_path) == before
        lines = finished.err.splitlines()
        assert all(line.startswith("error: ") for line in lines), finished
        return [line.removeprefix("error: ") for line in lines]

    return run


def files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "lines"),
        [
            (["data.batchsize=3"], ["data.batchsize=3 (command line): no such setting; did you mean data.batch_size?"]),
            (["optimizer.lr=fast"], ["optimizer.lr=fast (command line): must be a number, above 0, or find"]),
            (
                ["trainer.max_epochs=0"],
                ["trainer.max_epochs=0 (command line): must be a whole number, at least 1, or null"],
            ),
            (["data.mixup=-1"], ["data.mixup=-1 (command line): must be a number, at least 0"]),
            (
                ["optimizer.lr=-1", "data.batch_size=many", "ema.dekay=0.9"],
                [
                    "ema.dekay=0.9 (command line): no such setting; did you mean ema.decay?",
                    "data.batch_size=many (command line): must be a whole number, at least 1, or auto",
                    "optimizer.lr=-1 (command line): must be a number, above 0, or find",
                ],
            ),
        ],
    )
    @pytest.mark.parametrize("command", ["train", "config show", "evaluate"])
    def test_every_fault_is_told_at_once(
        self,
        refused: Callable[..., list[str]],
        trained: Trained,
        command: str,
        settings: list[str],
        lines: list[str],
    ) -> None:
        places = {"train": [trained.photos], "evaluate": [trained.run.root]}.get(command, [])

        assert refused(*command.split(), *places, *settings) == lines

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            (["scheduler.warmup_epochs=2"], ["scheduler.warmup_epochs=2 is as long as", "trainer.max_epochs=2"]),
            (["data.balance=logit_adjustment", "loss.name=bce"], ["logit_adjustment", "loss.name=bce", "Menon"]),
            (["data.balance=logit_adjustment", "loss.name=focal"], ["logit_adjustment", "loss.name=focal"]),
            (
                ["model.name=vit_tiny_patch16_224", "data.progressive_size=0.5"],
                ["vit_tiny_patch16_224 is built for images of 32 px and refuses training images of 16 px"],
            ),
            (
                ["model.name=vit_tiny_patch16_224", "data.image_size=16", "data.test_image_size=32"],
                ["is built for images of 32 px and refuses training images of 16 px", "data.test_image_size"],
            ),
            (
                ["data.final_epochs_at_test_size=2"],
                ["data.final_epochs_at_test_size=2 (command line)", "data.test_image_size=", "give test_image_size"],
            ),
            (["optimizer.name=lamp"], ["optimizer.name='lamp' is not an optimizer of timm; did you mean lamb"]),
            (["optimizer.sam_rho=0.1", "trainer.precision=16-mixed"], ["optimizer.sam_rho=0.1", "bf16-mixed"]),
            (["trainer.gradient_clip_algorithm=agc"], ["gradient_clip_val=1 (default)", "such as 0.02"]),
        ],
        ids=["warm-up", "bce", "focal", "progressive", "test size", "last epochs", "optimizer", "sam", "agc"],
    )
    def test_what_no_training_can_do(
        self, refused: Callable[..., list[str]], photos: Path, settings: list[str], words: list[str]
    ) -> None:
        (line,) = refused("train", photos, *TINY, "trainer.max_epochs=2", *settings)
        assert all(word in line for word in words)

    def test_what_contradicts_each_other_in_all_sections(self, refused: Callable[..., list[str]], photos: Path) -> None:
        lines = refused("train", photos, *TINY, "recipe=probe", "data.mixup=0.2", "ema.decay=0.9", "export.tolerance=0")

        starts = ["export.tolerance=0", "recipe.name=probe", "data.mixup=0.2", "ema.decay=0.9"]
        assert [line.partition(" (")[0] for line in lines] == starts
        assert all(" (command line)" in line for line in lines)

    def test_an_unknown_backbone(self, refused: Callable[..., list[str]], photos: Path) -> None:
        (line,) = refused("train", photos, "model.name=resnet19")

        assert line.startswith("model.name='resnet19' is not a timm model; did you mean resnet18")

    def test_an_unknown_preset(self, refused: Callable[..., list[str]], photos: Path) -> None:
        (line,) = refused("train", photos, "model=resnet51")

        assert "nearest: resnet50" in line
        assert "model.name=resnet51" in line

    def test_an_image_size_that_the_backbone_refuses(self, refused: Callable[..., list[str]], photos: Path) -> None:
        (line,) = refused("train", photos, "model.name=test_vit", "data.image_size=33")

        assert "data.image_size=33 is not a multiple of the patch size 16" in line
        assert "nearest: 32 or 48" in line

    def test_a_device_that_is_not_there(self, refused: Callable[..., list[str]], photos: Path) -> None:
        (line,) = refused("train", photos, "trainer.accelerator=mps")

        assert line.startswith("trainer.accelerator=mps: this machine has no such device; available: cpu")

    @pytest.mark.parametrize("name", ["a/b", "..", "/tmp/x"])  # noqa: S108 - refused
    def test_a_run_name_that_is_a_path(self, refused: Callable[..., list[str]], photos: Path, name: str) -> None:
        (line,) = refused("train", photos, f"run.name={name}")

        assert "is not a plain folder name" in line

    def test_two_sources_of_weights(self, refused: Callable[..., list[str]], photos: Path) -> None:
        (line,) = refused("train", photos, "model.pretrained=true", "model.weights=x.safetensors")

        assert "two sources of weights" in line

    def test_a_configuration_file_that_is_none(self, refused: Callable[..., list[str]], photos: Path) -> None:
        (line,) = refused("train", photos, "--config", "none.yaml")

        assert line == "none.yaml: there is no such configuration file"

    def test_a_misspelt_option(self, program: WarmProgram, photos: Path) -> None:
        finished = program("train", photos, "--resmue")

        assert finished.code == 2
        assert "--resmue" in finished.err
        assert "Traceback" not in finished.err


class TestPhotos:
    def test_no_photos_named(self, refused: Callable[..., list[str]]) -> None:
        (line,) = refused("train")

        assert line.startswith("no photos given; type: classifier-training train PHOTOS, where PHOTOS is a folder with")
        assert line.endswith("; or try the built-in example: classifier-training demo")

    def test_commands_and_flags_of_other_trainers(self, refused: Callable[..., list[str]], trained: Trained) -> None:
        run, photos = trained.run.root, trained.photos

        for words, instead in (
            (["val", run], f"evaluate {run} --split val"),
            (["test", run], f"evaluate {run} --split test"),
            (["resume", run], f"train --resume {run}"),
            (["check", photos], f"train {photos} --dry-run"),
        ):
            (line,) = refused(*words)
            assert line == f"there is no command {words[0]}; type: classifier-training {instead}"
        instead = f"classifier-training train {photos} trainer.max_epochs=5 data.image_size=64"
        assert refused("train", "--data", photos, "--epochs", "5", "--imgsz=64") == [
            f"there is no option --data, --epochs, --imgsz; type: {instead}"
        ]
        assert refused("train", photos, "epochs=5", "imgsz=64") == [
            "epochs=5 (command line): no such setting; did you mean trainer.max_epochs=5?",
            "imgsz=64 (command line): no such setting; did you mean data.image_size=64?",
        ]

    def test_a_missing_folder(self, refused: Callable[..., list[str]]) -> None:
        assert refused("train", "shirts") == ["there is no folder shirts; name a folder of photos or a table file"]

    def test_a_similar_path_is_named(self, refused: Callable[..., list[str]], trained: Trained, tmp_path: Path) -> None:
        photos = trained.photos.with_name("shpaes")
        runs = trained.run.root
        near = f"; did you mean {trained.photos}?"
        shutil.copy(trained.run.onnx, tmp_path / "model.onnx")

        assert refused("train", photos) == [
            f"there is no folder {photos}; name a folder of photos or a table file{near}"
        ]
        assert refused("predict", "model.onnx", photos) == [f"no such file or folder: {photos}{near}"]
        assert refused("report", runs.with_name("frist")) == [
            f"no run folder at {runs.with_name('frist')}; did you mean {runs}?"
        ]
        assert refused("evaluate", "modle.onnx") == ["no such file: modle.onnx; did you mean model.onnx?"]

    def test_two_folders(self, refused: Callable[..., list[str]], photos: Path) -> None:
        (line,) = refused("train", photos, "others")

        assert "one folder is expected, got 2" in line

    def test_an_empty_folder(self, refused: Callable[..., list[str]], tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()

        (line,) = refused("train", "empty")
        assert line.startswith(f"no images in {tmp_path / 'empty'}")

    def test_one_class(self, refused: Callable[..., list[str]], tmp_path: Path) -> None:
        make_shapes(tmp_path / "one", 4, ["red"])

        (line,) = refused("train", "one", *TINY)
        assert line.endswith("has one class only ('red'); a classifier needs two or more")

    def test_a_broken_photo(self, refused: Callable[..., list[str]], tmp_path: Path) -> None:
        make_shapes(tmp_path / "shapes", 4)
        (tmp_path / "shapes" / "red" / "bad.png").write_bytes(b"no image")

        (line,) = refused("train", "shapes", *TINY)
        assert "bad.png" in line
        assert "data.on_bad_image=skip" in line

    def test_nothing_to_predict(self, refused: Callable[..., list[str]], trained: Trained, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()

        (line,) = refused("predict", trained.run.root, "empty")
        assert line.startswith("no images in empty")
        (line,) = refused("predict", trained.run.root, "missing.jpg")
        assert line == "no such file or folder: missing.jpg"

    def test_classes_that_the_model_does_not_know(
        self, refused: Callable[..., list[str]], trained: Trained, tmp_path: Path
    ) -> None:
        make_shapes(tmp_path / "photos", 3, ["red", "black"])

        for model in (trained.run.best_checkpoint, trained.run.onnx):
            (line,) = refused("evaluate", model, "photos")
            assert "classes that the model does not know: 'black'" in line


class Malicious:
    """Runs a command when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@pytest.fixture(params=["truncated", "empty", "text", "picture", "foreign", "tensor", "malicious", "malicious, old"])
def bad_checkpoint(request: pytest.FixtureRequest, trained: Trained, tmp_path: Path) -> Path:
    path = tmp_path / "bad.ckpt"
    content = trained.run.best_checkpoint.read_bytes()
    trap = {"state_dict": Malicious(tmp_path / "executed"), "hyper_parameters": {}, "epoch": 0, "global_step": 0}
    writers: dict[str, Callable[[], object]] = {
        "truncated": lambda: path.write_bytes(content[: len(content) // 2]),
        "empty": lambda: path.write_bytes(b""),
        "text": lambda: path.write_text("hello " * 99),
        "picture": lambda: shutil.copy(next(trained.photos.rglob("*.png")), path),
        "foreign": lambda: torch.save({"state_dict": {"fc.weight": torch.zeros(3, 4)}, "epoch": 1}, path),
        "tensor": lambda: torch.save(torch.zeros(3), path),
        "malicious": lambda: torch.save(trap, path),
        "malicious, old": lambda: torch.save(trap, path, _use_new_zipfile_serialization=False),
    }
    writers[request.param]()
    return path


class TestCheckpoints:
    def test_evaluating_one_that_is_none_of_ours(
        self, refused: Callable[..., list[str]], trained: Trained, bad_checkpoint: Path, tmp_path: Path
    ) -> None:
        (line,) = refused("evaluate", bad_checkpoint, trained.photos)

        assert line.startswith(f"{bad_checkpoint} ")
        assert not (tmp_path / "executed").exists()

    def test_going_on_from_one_that_is_none_of_ours(
        self, refused: Callable[..., list[str]], trained: Trained, bad_checkpoint: Path, tmp_path: Path
    ) -> None:
        run = RunFolder(tmp_path / "run")
        shutil.copytree(trained.run.root, run.root)
        for path in run.checkpoints.iterdir():  # with another whole one it would go on from that
            path.unlink()
        shutil.copy(bad_checkpoint, run.last_checkpoint)

        (line,) = refused("train", "--resume", run.root, "trainer.max_epochs=3")

        assert line.startswith(f"no checkpoint of {run.root} can be used; restore one, or start a new run: ")
        assert str(run.last_checkpoint) in line
        assert not (tmp_path / "executed").exists()

    def test_starting_from_weights_that_are_none(
        self, refused: Callable[..., list[str]], trained: Trained, bad_checkpoint: Path, tmp_path: Path
    ) -> None:
        (line,) = refused("train", trained.photos, *TINY, f"model.weights={bad_checkpoint}")

        assert str(bad_checkpoint) in line
        assert not (tmp_path / "executed").exists()

    def test_a_checkpoint_of_other_weights_than_it_says(
        self, refused: Callable[..., list[str]], trained: Trained, tmp_path: Path
    ) -> None:
        content = torch.load(trained.run.best_checkpoint, weights_only=True)
        content["hyper_parameters"]["classes"] = ["a", "b", "c", "d"]
        torch.save(content, tmp_path / "four.ckpt")
        make_shapes(tmp_path / "photos", 3)

        (line,) = refused("evaluate", "four.ckpt", "photos")
        assert line.startswith("four.ckpt does not hold the model that it describes")

    def test_what_is_no_model(self, refused: Callable[..., list[str]], photos: Path, tmp_path: Path) -> None:
        (tmp_path / "text.onnx").write_text("hello")

        for word in ("evaluate", "predict"):
            (line,) = refused(word, "text.onnx", photos)
            assert line.startswith("text.onnx is not an ONNX model that can be opened, or is truncated")
        assert refused("evaluate", "none.onnx", photos) == ["no such file: none.onnx"]
        assert refused("predict", "none.onnx", photos) == ["there is no none.onnx; name a run folder or an .onnx file"]
        assert refused("evaluate", "none.ckpt", photos) == ["no such file: none.ckpt"]
        assert refused("evaluate", photos) == [f"{photos} is not a run folder: it has no config.yaml"]
        assert refused("export", photos) == [f"{photos} is not a run folder: it has no config.yaml"]
        image = next(photos.rglob("*.png"))
        assert refused("evaluate", image) == [f"{image} is not a run folder, .ckpt, .onnx or .xml file"]

    def test_a_run_that_is_not_finished(
        self, refused: Callable[..., list[str]], trained: Trained, tmp_path: Path
    ) -> None:
        run = RunFolder(tmp_path / "run")
        shutil.copytree(trained.run.root, run.root)
        shutil.rmtree(run.export)
        (line,) = refused("predict", "run", trained.photos)
        assert line == "run has no export/model.onnx; create it: classifier-training export run"

        shutil.rmtree(run.checkpoints)
        (line,) = refused("evaluate", "run")
        assert line == "run has no checkpoints/best.ckpt; finish it: train --resume run"
        (line,) = refused("export", "run")
        assert line.startswith("run has no checkpoints/best.ckpt to export")


class TestFilesOfOtherPrograms:
    def test_they_are_scored_if_they_are_described(
        self, refused: Callable[..., list[str]], program: WarmProgram, trained: Trained, tmp_path: Path
    ) -> None:
        foreign = tmp_path / "foreign.onnx"
        exported = onnx.load(trained.run.onnx)
        del exported.metadata_props[:]
        onnx.save(exported, foreign)
        mapping, labels = trained.run.labels_mapping, tmp_path / "names.txt"
        labels.write_text("blue\ngreen\nred\n", encoding="utf-8")
        describing = ("--labels", labels, "--preprocessing", mapping)

        (unsaid,) = refused("evaluate", foreign, trained.photos)
        (half,) = refused("evaluate", foreign, trained.photos, "--labels", labels)
        (own,) = refused("evaluate", trained.run.onnx, trained.photos, *describing)
        (checkpoint,) = refused("evaluate", trained.run.best_checkpoint, *describing)
        labels.write_text("blue\ngreen\n", encoding="utf-8")
        (two,) = refused("evaluate", foreign, trained.photos, *describing)
        described = (foreign, trained.photos, "--labels", mapping, "--preprocessing", mapping, "--json")
        scores = [
            program("evaluate", *words, "--output", tmp_path / f"{number}").json["top1"]
            for number, words in enumerate([described, (trained.run.onnx, trained.photos, "--current", "--json")])
        ]

        assert f"{foreign} has no class names: " in unsaid
        assert "give --labels FILE and --preprocessing JSON" in unsaid
        assert half == f"{foreign} says nothing of its classes and preprocessing; give --preprocessing JSON, too"
        assert own.endswith("has class names and preprocessing of its own; leave --labels and --preprocessing out")
        assert checkpoint.startswith("--labels and --preprocessing describe an .onnx file; ")
        assert two == f"{foreign} has 3 outputs, but 2 class names"
        assert scores[0] == scores[1]


class TestWriting:
    def test_a_run_folder_that_cannot_be_made(
        self, refused: Callable[..., list[str]], photos: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")

        (line,) = refused("train", photos, *TINY, "run.dir=file")
        assert line.startswith("cannot create the folder file: File exists")

    @pytest.mark.parametrize("output", ["file/labels.csv", "labels.txt", "labels", "folder.csv"])
    def test_an_output_that_cannot_be_written(
        self, refused: Callable[..., list[str]], trained: Trained, tmp_path: Path, output: str
    ) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "folder.csv").mkdir()

        (line,) = refused("predict", trained.run.root, trained.photos, "--output", output)
        assert line.startswith(f"--output {output}: ")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 5 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", folder], check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


LIMITED = """
import resource, sys
from classifier_training.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
main(sys.argv[1:])
"""


class TestAFullDisk:
    SETTINGS = (*TINY, "checkpoint.monitor=val/loss", "trainer.max_epochs=9", "export.enabled=false", "run.name=full")

    @staticmethod
    def check(finished: Finished, run: RunFolder, reason: int) -> None:
        assert finished.code == 2, finished
        (line,) = finished.err.splitlines()
        assert line.startswith("error: cannot write ")
        assert os.strerror(reason) in line
        assert not list(run.root.rglob(".*"))

    def test_it_is_one_line_and_the_earlier_checkpoint_is_whole(
        self, program: WarmProgram, photos: Path, small_disk: Path
    ) -> None:
        run = RunFolder(small_disk / "full")

        finished = program("train", photos, *self.SETTINGS, f"run.dir={small_disk}")

        self.check(finished, run, errno.ENOSPC)
        assert str(run.root) in finished.err
        for path in (run.last_checkpoint, run.best_checkpoint):
            assert torch.load(path, weights_only=True)["epoch"] == 0
        subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
        resumed = program("train", "--resume", run.root, "trainer.max_epochs=2")
        assert resumed.code == 0, resumed

    def test_a_limit_on_the_size_of_files_is_told_alike(
        self, program: WarmProgram, photos: Path, tmp_path: Path
    ) -> None:
        finished = program.python(LIMITED, "train", photos, *self.SETTINGS, folder=tmp_path)
        run = RunFolder(tmp_path / "runs" / "full")

        self.check(finished, run, errno.EFBIG)
        assert not run.last_checkpoint.exists()
