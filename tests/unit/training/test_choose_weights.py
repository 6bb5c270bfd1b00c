"""The choice of the final weights of a real run, and what a process leaves that is killed within it."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - the field's name for it
from tests.helpers.cli import TINY, make_shapes
from tests.helpers.training import LIGHTNING_NOTICES

from classifier_training.config import load_config
from classifier_training.errors import CheckpointError
from classifier_training.evaluation.checkpoint import model_logits, scoring_loader
from classifier_training.files.atomic import write_json
from classifier_training.models.average_weights import interpolate
from classifier_training.models.checkpoint import load_model, read_checkpoint, write_checkpoint
from classifier_training.results.final_choice import FINAL_CHOICE, weights_name
from classifier_training.results.results_file import ResultsFile
from classifier_training.run.checkpoint_files import epoch_checkpoints, resumable_checkpoints
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import read_record
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.choose_weights import choose_weights, remove_candidates
from classifier_training.training.plan import Plan, make_plan
from classifier_training.training.resume import read_resumed
from classifier_training.training.train import train

pytestmark = LIGHTNING_NOTICES
HEAD = ("head.fc.weight", "head.fc.bias")
CPU = torch.device("cpu")
SETTINGS = (
    *TINY,
    "trainer.max_epochs=3",
    "optimizer.lr=3e-3",
    "ema.decay=0.5",
    "model.freeze_norm_stats=true",
    "checkpoint.choose_final=true",
    "checkpoint.monitor=val/loss",
    "export.enabled=false",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run whose final weights were chosen among its epochs, and whose candidates were kept."""
    folder = tmp_path_factory.mktemp("choice")
    photos = make_shapes(folder / "photos")
    words = {"run.dir": str(folder), "run.name": "run", "checkpoint.keep_best": 3}
    result = train(photos, *SETTINGS, words, quiet=True)
    assert result is not None
    return RunFolder(result.run)


@pytest.fixture
def run(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of it as it was before the choice, with a probe: the average of two epochs, the other way round."""
    copy = RunFolder(tmp_path / "run")
    shutil.copytree(finished.root, copy.root)
    files = epoch_checkpoints(copy.checkpoints)
    last = read_checkpoint(copy.last_checkpoint)
    best = last["callbacks"]["RunCheckpoint"]["best_epoch"]
    if FINAL_CHOICE in read_checkpoint(copy.best_checkpoint):
        content = {**last, **read_checkpoint(files[best])}
        write_checkpoint(content, copy.best_checkpoint)
    return copy


def add_probe(run: RunFolder, *, is_poor: bool = False) -> None:
    """A probe: the best epoch with logits that are scaled by a better factor, or turned round."""
    plan, best = plan_of(run), read_checkpoint(run.best_checkpoint)
    loader = scoring_loader(plan.photos.records("val"), plan.photos.labels("val"), plan.preprocessing, plan.config)
    with torch.inference_mode():
        batches = list(model_logits(load_model(run.best_checkpoint), loader, CPU, "float32", plan.preprocessing))
    logits, labels = (torch.cat([batch[part] for batch in batches]) for part in (0, 1))
    factors = (0.5, 0.7, 0.9, 1.1, 1.4, 2.0, 4.0)
    factor = -1.0 if is_poor else min(factors, key=lambda one: float(F.cross_entropy(one * logits, labels)))
    state = {name: value * (factor if name.endswith(HEAD) else 1) for name, value in best["state_dict"].items()}
    kept = read_checkpoint(epoch_checkpoints(run.checkpoints)[0])
    write_checkpoint({**kept, "state_dict": state, "epoch": 0}, run.probe_checkpoint)


def choose(run: RunFolder, check_stop: Any = lambda: None) -> Any:
    return choose_weights(run, plan_of(run), Terminal(quiet=True), 3, CPU, check_stop)


def plan_of(run: RunFolder) -> Plan:
    return make_plan(load_config(file=run.config), Terminal(silent=True))


def test_the_choice_is_in_the_results_and_has_the_lowest_loss(finished: RunFolder) -> None:
    results = read_record(finished.results, ResultsFile)
    assert results.choice is not None
    losses = [one.loss for one in results.choice.candidates]
    assert losses == sorted(losses)
    assert {f"epoch {epoch}" for epoch in (1, 2, 3)} <= {one.name for one in results.choice.candidates}
    assert results.reproduction is not None
    assert results.reproduction.passed
    assert results.choice.sentence() in finished.log.read_text().replace("\n", " ")


def test_weights_that_were_chosen_are_those_in_best_ckpt(run: RunFolder) -> None:
    add_probe(run)
    before = read_checkpoint(run.best_checkpoint)["epoch"]
    choice = choose(run)
    names = {one.name for one in choice.candidates}
    assert {"probe", f"0.75 × probe + 0.25 × epoch {before + 1}"} <= names
    probe = next(one for one in choice.candidates if one.name == "probe")
    assert choice.best.loss <= probe.loss
    assert "probe" in choice.chosen

    content = read_checkpoint(run.best_checkpoint)
    assert content["epoch"] == before
    assert content[FINAL_CHOICE]["choice"]["chosen"] == weights_name(content) == choice.chosen
    kept = read_checkpoint(epoch_checkpoints(run.checkpoints)[before])["state_dict"]
    probe_state = read_checkpoint(run.probe_checkpoint)["state_dict"]
    share = 0.0 if choice.chosen == "probe" else float(choice.chosen.partition(" + ")[2].partition(" ")[0])
    expected = interpolate(probe_state, kept, share)
    assert all(
        torch.equal(value, expected[name]) for name, value in load_model(run.best_checkpoint).state_dict().items()
    )


def test_a_choice_that_was_made_is_not_made_again(run: RunFolder) -> None:
    add_probe(run)
    first = choose(run)
    content = run.best_checkpoint.read_bytes()
    run.probe_checkpoint.unlink()
    assert choose(run) == first
    assert run.best_checkpoint.read_bytes() == content


def test_a_process_that_stops_within_the_choice_leaves_what_it_found(run: RunFolder) -> None:
    add_probe(run)
    expected = {path: path.read_bytes() for path in run.checkpoints.iterdir()}
    calls = iter(range(5))

    def stop() -> None:
        if next(calls, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        choose(run, stop)
    assert {path: path.read_bytes() for path in run.checkpoints.iterdir()} == expected


def test_a_poor_probe_is_not_chosen_and_best_ckpt_stays_as_it_was(run: RunFolder) -> None:
    add_probe(run, is_poor=True)
    epoch = read_checkpoint(run.best_checkpoint)["epoch"]
    for other, path in epoch_checkpoints(run.checkpoints).items():
        if other != epoch:
            path.unlink()
    content = run.best_checkpoint.read_bytes()
    choice = choose(run)
    assert (choice.chosen, choice.candidates[-1].name) == (f"epoch {epoch + 1}", "probe")
    assert run.best_checkpoint.read_bytes() == content


def test_weights_whose_logits_are_no_numbers_are_no_candidate(run: RunFolder) -> None:
    add_probe(run)
    probe = read_checkpoint(run.probe_checkpoint)
    state = {name: value * (math.nan if name.endswith(HEAD) else 1.0) for name, value in probe["state_dict"].items()}
    del probe
    run.probe_checkpoint.unlink()
    write_checkpoint({**read_checkpoint(run.best_checkpoint), "state_dict": state}, run.probe_checkpoint)
    choice = choose(run)
    assert "probe" not in {one.name for one in choice.candidates}


def test_statistics_that_differ_are_not_averaged(run: RunFolder) -> None:
    add_probe(run)
    probe = read_checkpoint(run.probe_checkpoint)
    state = {name: value * 2 if name.endswith("running_var") else value for name, value in probe["state_dict"].items()}
    run.probe_checkpoint.unlink()
    write_checkpoint({**probe, "state_dict": state}, run.probe_checkpoint)
    choice = choose(run)
    assert not [one.name for one in choice.candidates if "×" in one.name]
    assert choice.left_out.endswith("and the probe")


def test_candidates_are_removed_unless_asked_for(run: RunFolder) -> None:
    add_probe(run)
    choice, plan = choose(run), plan_of(run)
    remove_candidates(run, plan, choice)
    assert len(epoch_checkpoints(run.checkpoints)) == 3, "checkpoint.keep_best=3 was set"
    checkpoint = plan.config.checkpoint.model_copy(update={"keep_best": None})
    plan = replace(plan, config=plan.config.model_copy(update={"checkpoint": checkpoint}))
    remove_candidates(run, plan, choice)
    assert list(epoch_checkpoints(run.checkpoints)) == [read_checkpoint(run.best_checkpoint)["epoch"]]


def test_a_training_is_never_resumed_from_chosen_weights(run: RunFolder) -> None:
    add_probe(run)
    choose(run)
    for path in resumable_checkpoints(run):
        if path != run.best_checkpoint:
            path.unlink()
    with pytest.raises(CheckpointError, match="holds chosen final weights, and no training that could be resumed"):
        read_resumed(run.root, [], run.root.parent)


def test_results_of_before_have_no_choice(run: RunFolder) -> None:
    values = json.loads(run.results.read_text())
    values.pop("choice")
    write_json(run.results, values)
    assert read_record(run.results, ResultsFile).choice is None
