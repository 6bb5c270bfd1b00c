"""A batch size that is measured before the training."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.cli import TINY, WarmProgram
from tests.helpers.training import assert_same_run

from classifier_training.config import load_config
from classifier_training.run.folder import RunFolder

SETTINGS = (*TINY, "trainer.max_epochs=1", "export.enabled=false", "optimizer.lr_base_batch_size=4")
SCRIPT = """
import sys
from classifier_training.cli import main
from classifier_training.training import batch_size

batch_size.FEWEST_STEPS = 1  # so that there is something to choose from, with few photos
main(sys.argv[1:])
"""


def test_a_run_is_the_one_that_was_given_the_size_which_was_measured(
    program: WarmProgram, photos: Path, tmp_path: Path
) -> None:
    words = ("train", photos, *SETTINGS, "data.batch_size=auto", "run.name=measured")
    finished = program.python(SCRIPT, *words, folder=tmp_path)

    assert finished.code == 0, finished
    assert "Traceback" not in finished.err
    measured, given = (RunFolder(tmp_path / "runs" / name) for name in ("measured", "given"))
    config = load_config(file=measured.config)
    size = config.data.images_per_batch
    assert size in {8, 16, 32}
    shown = " ".join(finished.out.split())
    assert f"{size} images: the fewest with 95% of the best throughput (images/s with 8: " in shown
    assert f"{0.001 * size / 4:g} for {size} images a step: 0.001 for 4, scaled in proportion" in shown
    assert (config.optimizer.peak_lr, config.optimizer.lr_base_batch_size) == (0.001 * size / 4, size)

    assert program("train", photos, *SETTINGS, f"data.batch_size={size}", "run.name=given", folder=tmp_path).code == 0
    assert_same_run(measured.checkpoints, given.checkpoints, names=("best.ckpt", "last.ckpt"))
    assert measured.metrics.read_bytes() == given.metrics.read_bytes()
    assert measured.config.read_text() == given.config.read_text().replace("name: given", "name: measured")

    again = program("train", "--resume", measured.root, "data.batch_size=auto", folder=tmp_path)
    assert again.code == 2, again
    assert f"a resumed run cannot change data.batch_size ({size} → auto)" in again.err
