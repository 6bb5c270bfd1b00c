from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
from tests.helpers.images import make_image
from tests.helpers.tracking import RESULTS, opened
from tests.helpers.training import (
    LIGHTNING_NOTICES,
    KillAfter,
    KilledError,
    assert_same_run,
    fit_photos,
    make_loader,
    make_model,
    make_trainer,
)

from classifier_training.callbacks.tracking import TrackingCallback
from classifier_training.config.schema import TrackingConfig
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.trackers import Trackers

pytestmark = LIGHTNING_NOTICES

ONLY = TrackingConfig(tensorboard=True)


class SampledIndices(lightning.Callback):
    """A figure after every epoch, and one at the end, as other callbacks do."""

    def __init__(self, run: RunFolder) -> None:
        self.run = run

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draws the epoch."""
        make_image(self.run.plots / f"epoch{trainer.current_epoch}.png")

    def on_fit_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draws the end."""
        make_image(self.run.plots / "end.png")


def events(run: RunFolder) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run.tensorboard), size_guidance={"scalars": 0, "images": 0}).Reload()


def scalars(run: RunFolder, name: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in events(run).Scalars(name)]


def steps(run: RunFolder, name: str) -> list[int]:
    return [step for step, _ in scalars(run, name)]


def track(run: RunFolder, photos: Path, *callbacks: lightning.Callback) -> lightning.Trainer:
    """Trains on photos, resumed where the run has a checkpoint, and tracks it."""
    with opened(run, ONLY) as trackers:
        return fit_photos(run.root, photos, SampledIndices(run), TrackingCallback(run.root, trackers), *callbacks)


def test_every_epoch_is_sent_with_all_its_metrics(tmp_path: Path, photos: Path) -> None:
    run = RunFolder(tmp_path / "run")
    trainer = track(run, photos)
    for name, value in trainer.callback_metrics.items():
        assert steps(run, name) == [6, 12, 18]
        assert scalars(run, name)[-1][1] == pytest.approx(float(value))
    assert scalars(run, "epoch") == [(6, 0), (12, 1), (18, 2)]
    assert all(rate > 0 for _, rate in scalars(run, "images_per_second"))
    assert steps(run, "images_per_second") == [6, 12, 18]


def test_figures_are_sent_after_the_epoch_that_plotted_them_and_at_the_end(tmp_path: Path, photos: Path) -> None:
    run = RunFolder(tmp_path / "run")
    track(run, photos)
    shown = events(run)
    sent = {name: [image.step for image in shown.Images(name)] for name in shown.Tags()["images"]}
    assert sent == {"plots/epoch0": [6], "plots/epoch1": [12], "plots/epoch2": [18], "plots/end": [18]}


@pytest.mark.parametrize("kill_after", [3, 8, 13])
def test_a_resumed_run_goes_on_with_its_steps(tmp_path: Path, photos: Path, kill_after: int) -> None:
    run = RunFolder(tmp_path / "run")
    with pytest.raises(KilledError):
        track(run, photos, KillAfter(kill_after))
    track(run, photos)
    assert steps(run, "val/top1") == [6, 12, 18]


def test_figures_plotted_before_an_exception_are_sent(tmp_path: Path) -> None:
    class Fails(lightning.Callback):
        """Draws something and ends the training."""

        def on_train_batch_end(self, *arguments: Any) -> None:
            """Draws and fails."""
            make_image(tmp_path / "plots" / "last.png")
            raise KilledError

    with opened(RunFolder(tmp_path), ONLY) as trackers:
        trainer = make_trainer(tmp_path, Fails(), TrackingCallback(tmp_path, trackers))
        with pytest.raises(KilledError):
            trainer.fit(make_model(), make_loader(2), make_loader(1))
        assert events(RunFolder(tmp_path)).Tags()["images"] == ["plots/last"], "not only when it is closed"


def test_the_run_is_the_same_bit_for_bit(tmp_path: Path, photos: Path, uninterrupted: Path) -> None:
    run = RunFolder(tmp_path / "run")
    with opened(run, ONLY) as trackers:
        fit_photos(run.root, photos, TrackingCallback(run.root, trackers))
        trackers.finish(RESULTS, None)
    assert_same_run(run.root, uninterrupted)
    assert scalars(run, "test/top1") == [(18, 0.75)]


def test_another_rank_sends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunFolder(tmp_path)
    with opened(run, ONLY) as trackers:
        callback = TrackingCallback(run.root, trackers)
        trainer = make_trainer(tmp_path, callback)
        monkeypatch.setattr(type(trainer), "is_global_zero", False)
        trainer.fit(make_model(), make_loader(2), make_loader(1))
    assert events(run).Tags()["scalars"] == []


def test_without_a_file_of_timings_there_is_no_rate(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    with opened(run, ONLY) as trackers:
        make_trainer(tmp_path, TrackingCallback(tmp_path, trackers)).fit(make_model(), make_loader(2), make_loader(1))
    assert steps(run, "train/loss") == [2]
    assert "images_per_second" not in events(run).Tags()["scalars"]


def test_without_trackers_it_writes_nothing(tmp_path: Path) -> None:
    make_trainer(tmp_path, TrackingCallback(tmp_path, Trackers())).fit(make_model(), make_loader(2), make_loader(1))
    assert not list(tmp_path.iterdir())
