from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.run_folders import RunMaker

from classifier_training.run.folder import RunFolder
from classifier_training.run.records import DamagedFileError
from classifier_training.run.sampler_distribution import read_sampler_distribution


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunMaker(2, num_images=4).make(tmp_path / "run")


@pytest.mark.parametrize(
    "text",
    [
        "epoch,class,images,drawn\n",
        "epoch,class,drawn,images\n0,a,1,1\n",
        "epoch,class,images,drawn\n0,a,1,1\n0,b,1,1\n1,a,1,1\n",
        "epoch,class,images,drawn\n0,a,-1,1\n",
        "epoch,class,images,drawn\n0,a,1,x\n",
    ],
)
def test_draws_that_do_not_fit_together_are_refused(run: RunFolder, text: str) -> None:
    run.sampler_distribution.write_text(text, encoding="utf-8")

    with pytest.raises(DamagedFileError):
        read_sampler_distribution(run.sampler_distribution)


def test_draws_may_begin_after_a_resume_and_stand_in_any_order(run: RunFolder) -> None:
    run.sampler_distribution.write_text(
        "epoch,class,images,drawn\n3,b,5,6\n2,b,5,7\n2,a,1,2\n3,a,1,3\n", encoding="utf-8"
    )

    draws = read_sampler_distribution(run.sampler_distribution)

    assert (draws.classes, draws.epochs, draws.images.tolist()) == (("b", "a"), (2, 3), [5, 1])
    assert draws.sampled.tolist() == [[7, 2], [6, 3]]
