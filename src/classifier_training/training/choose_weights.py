"""The choice of the final weights: those of the lowest validation loss among what a training leaves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from classifier_training.callbacks.best_epochs import KEPT_KEYS, BestEpochs
from classifier_training.callbacks.checkpoint import RunCheckpoint
from classifier_training.data.datamodule import ImageFolderDataModule
from classifier_training.data.loading.failures import explain_loader_failures
from classifier_training.errors import CheckpointError
from classifier_training.evaluation.checkpoint import model_logits, scoring_loader
from classifier_training.evaluation.photos import with_limit
from classifier_training.models.average_weights import State, greedy_soup, have_equal_statistics, interpolate, mean_of
from classifier_training.models.base import BaseClassificationModel
from classifier_training.models.checkpoint import load_model, read_checkpoint, write_checkpoint
from classifier_training.results.final_choice import FINAL_CHOICE, PROBE, Candidate, FinalChoice
from classifier_training.run.checkpoint_files import epoch_checkpoint, epoch_checkpoints
from classifier_training.run.folder import RunFolder
from classifier_training.terminal.terminal import Terminal
from classifier_training.training.plan import Plan

SHARES: Final = (0.25, 0.5, 0.75)
"""Shares of the best epoch in its averages with the probe."""

_MAX_BYTES_HELD: Final = 2**29  # validation images that are held in memory instead of being read for each candidate


def choose_weights(
    run: RunFolder,
    plan: Plan,
    terminal: Terminal,
    num_epochs: int,
    device: torch.device,
    check_stop: Callable[[], None],
) -> FinalChoice | None:
    """Chooses the final weights, and writes them to ``best.ckpt``, unless that holds them already.

    The candidates are the best epoch, the probe that the training began with, averages of the two (WiSE-FT), and the
    greedy soup of the best epochs. A process that is killed here leaves a ``best.ckpt`` of before or after the choice,
    and all candidates; `remove_candidates` removes them, once the choice is in ``results.json``.

    Args:
        run: Its folder.
        plan: What was trained.
        terminal: Where the candidates are listed.
        num_epochs: Epochs that were trained.
        device: Where to compute.
        check_stop: Called after each batch; may raise to stop.

    Returns:
        The choice; None where none was asked for.
    """
    if not plan.config.checkpoint.choose_final:
        return None
    best = _read_best(run)
    made = best.get(FINAL_CHOICE)
    if made is not None and made["num_epochs"] == num_epochs:
        choice = FinalChoice.from_plain(made["choice"])
    else:
        if made is not None:  # of a training that has gone on since, without a better epoch
            best |= read_checkpoint(epoch_checkpoint(run.checkpoints, best["epoch"]))
        candidates = _candidates(run, best, _Scorer(run, plan, terminal, device, check_stop))
        choice = candidates.choice()
        if choice.chosen != epoch_name(best["epoch"]) or made is not None:
            _write(run, best, candidates.states[choice.chosen], num_epochs, choice)
    show_choice(terminal, choice)
    return choice


def remove_candidates(run: RunFolder, plan: Plan, choice: FinalChoice | None) -> None:
    """Removes the weights of epochs that were kept for the choice alone; those of the best epoch stay if not chosen."""
    settings = plan.config.checkpoint
    if choice is None or settings.keep_best is not None:
        return
    best = read_checkpoint(run.best_checkpoint)
    needed = best["epoch"] if FINAL_CHOICE in best else None
    for epoch, path in epoch_checkpoints(run.checkpoints).items():
        if epoch != needed:
            path.unlink(missing_ok=True)


def show_choice(terminal: Terminal, choice: FinalChoice) -> None:
    """Lists the candidates, and which was chosen."""
    rows = [[one.name, f"{one.loss:.4f}", f"{one.top1:.2%}", one.describe_difference()] for one in choice.candidates]
    title = f"candidates for the final weights, on {choice.num_images} validation images in float32"
    terminal.table(title, ["weights", "loss", "top-1", "difference of the loss"], rows)
    if choice.left_out:
        terminal.info(choice.left_out)
    terminal.info(f"final weights: {choice.sentence()}")


@dataclass(frozen=True, slots=True)
class _Scores:
    """Of one candidate: the loss of each image, and the share of correct predictions."""

    losses: NDArray[np.float64]
    top1: float

    @property
    def loss(self) -> float:
        """The mean; infinity where it is not a number, so that such weights are never chosen."""
        mean = math.fsum(self.losses) / len(self.losses)
        return mean if math.isfinite(mean) else math.inf


class _Scorer:
    """Scores weights on the validation images in exact float32."""

    def __init__(
        self, run: RunFolder, plan: Plan, terminal: Terminal, device: torch.device, check_stop: Callable[[], None]
    ) -> None:
        self.model: BaseClassificationModel = load_model(run.best_checkpoint)
        self.terminal, self.device, self.check_stop = terminal, device, check_stop
        self.preprocessing = with_limit(self.model.preprocessing, plan.config, None)
        photos = plan.photos
        self.records, labels = photos.records("val"), photos.labels("val")
        self.batches: Any = scoring_loader(self.records, labels, self.preprocessing, plan.config)
        if len(self.records) * 3 * self.preprocessing.image_size**2 <= _MAX_BYTES_HELD:
            with explain_loader_failures():
                self.batches = [{name: part.clone() for name, part in batch.items()} for batch in self.batches]

    @torch.inference_mode()
    def score(self, state: State, name: str) -> _Scores:
        """The scores of weights."""
        self.model.load_state_dict(dict(state))
        losses: list[float] = []
        num_correct = 0
        with explain_loader_failures(), self.terminal.progress(f"scoring {name}", "images") as progress:
            for logits, labels in model_logits(self.model, self.batches, self.device, "float32", self.preprocessing):
                self.check_stop()
                losses += self.model.loss.evaluate(logits, labels.to(logits.device)).cpu().double().tolist()
                num_correct += int((logits.argmax(dim=1).cpu() == labels).sum())
                progress(len(losses), len(self.records))
        return _Scores(np.array(losses), num_correct / len(losses))


class _Candidates:
    """The candidates by their names, and which there are none of."""

    def __init__(self, scorer: _Scorer) -> None:
        self.scorer = scorer
        self.states: dict[str, State] = {}
        self.scores: dict[str, _Scores] = {}
        self.left_out: list[str] = []
        self._buffers = [name for name, _ in scorer.model.named_buffers()]

    def add(self, name: str, state: State) -> float:
        """Scores a candidate, and gives its loss."""
        self.states[name], self.scores[name] = state, self.scorer.score(state, name)
        return self.scores[name].loss

    def can_average(self, what: str, states: Sequence[State]) -> bool:
        """Whether the weights may be averaged; where not, that is noted."""
        if not have_equal_statistics(states, self._buffers):
            self.left_out.append(what)
            return False
        return True

    def choice(self) -> FinalChoice:
        """The candidate of the lowest loss; of equal ones the first that was added.

        Raises:
            CheckpointError: None of them has finite logits.
        """
        order = sorted(self.scores, key=lambda name: self.scores[name].loss)
        order = [name for name in order if self.scores[name].loss < math.inf]
        if not order:
            raise CheckpointError(f"the logits of {', '.join(self.scores)} are not finite numbers in float32")
        chosen = self.scores[order[0]]
        left_out = f"not averaged, as BatchNorm's statistics differ: {', '.join(self.left_out)}"
        return FinalChoice(
            chosen=order[0],
            candidates=tuple(_compared(name, self.scores[name], chosen) for name in order),
            num_images=len(chosen.losses),
            left_out=left_out if self.left_out else "",
        )


def _compared(name: str, scores: _Scores, chosen: _Scores) -> Candidate:
    differences = scores.losses - chosen.losses
    num_images = len(differences)
    return Candidate(
        name=name,
        loss=scores.loss,
        top1=scores.top1,
        difference=math.fsum(differences) / num_images,
        standard_error=float(differences.std(ddof=1) / math.sqrt(num_images)) if num_images > 1 else None,
    )


def _candidates(run: RunFolder, best: Mapping[str, Any], scorer: _Scorer) -> _Candidates:
    """All candidates, with their scores."""
    candidates, name, weights = _Candidates(scorer), epoch_name(best["epoch"]), best["state_dict"]
    candidates.add(name, weights)
    _add_averages_with_probe(candidates, run, name, weights)
    _add_soup(candidates, run, best["epoch"], weights)
    return candidates


def _add_averages_with_probe(candidates: _Candidates, run: RunFolder, best_name: str, best: State) -> None:
    """The probe, and its averages with the best epoch."""
    if not run.probe_checkpoint.is_file():
        return
    probe: State = read_checkpoint(run.probe_checkpoint)["state_dict"]
    candidates.add(PROBE, probe)
    if candidates.can_average(f"{best_name} and the {PROBE}", [probe, best]):
        for share in SHARES:
            name = f"{1 - share:g} × {PROBE} + {share:g} × {best_name}"
            candidates.add(name, interpolate(probe, best, share))


def _add_soup(candidates: _Candidates, run: RunFolder, best_epoch: int, best: State) -> None:
    """The other epochs that were kept, and the greedy soup of all."""
    names, states = [epoch_name(best_epoch)], [best]
    recorded = read_checkpoint(run.last_checkpoint)["callbacks"].get(RunCheckpoint.__qualname__, {})
    epochs = {int(row[0]) for row in recorded.get("best_epochs", ())}
    for epoch, path in epoch_checkpoints(run.checkpoints).items():
        if epoch in epochs - {best_epoch}:
            names.append(epoch_name(epoch))
            states.append(read_checkpoint(path)["state_dict"])
            candidates.add(names[-1], states[-1])
    if len(states) == 1 or not candidates.can_average("the best epochs", states):
        return
    losses = [candidates.scores[name].loss for name in names]
    soup = greedy_soup(states, losses, lambda state: candidates.scorer.score(state, "an average of epochs").loss)
    if len(soup.members) > 1:
        numbers = ", ".join(str(number) for number in sorted(int(names[one].split()[1]) for one in soup.members))
        candidates.add(f"average of epochs {numbers}", mean_of([states[one] for one in soup.members]))


def epoch_name(epoch: int) -> str:
    """The name of an epoch, which counts from 0, as a candidate."""
    return f"epoch {epoch + 1}"


def _read_best(run: RunFolder) -> dict[str, Any]:
    """What is needed of ``best.ckpt``, in memory: a file that is mapped cannot be replaced everywhere."""
    content = read_checkpoint(run.best_checkpoint)
    keys = (*KEPT_KEYS, "callbacks", ImageFolderDataModule.__qualname__, FINAL_CHOICE)
    weights = {key: value.clone() for key, value in content["state_dict"].items()}
    return {key: content[key] for key in keys if key in content} | {"state_dict": weights}


def _write(run: RunFolder, best: Mapping[str, Any], state: State, num_epochs: int, choice: FinalChoice) -> None:
    """Replaces ``best.ckpt``; the weights of the best epoch get a file of their own."""
    if FINAL_CHOICE not in best:
        BestEpochs(run.checkpoints, 1, "min").write(run.best_checkpoint, best["epoch"])
    record = {"num_epochs": num_epochs, "choice": choice.to_plain()}
    plain = {key: value.clone() for key, value in state.items()}
    write_checkpoint({**best, "state_dict": plain, FINAL_CHOICE: record}, run.best_checkpoint)
