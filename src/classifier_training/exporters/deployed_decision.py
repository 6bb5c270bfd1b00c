"""The decision that travels in an exported file: that of the checkpoint, or one that the export was asked for."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from classifier_training.config.schema import DecisionConfig
from classifier_training.errors import ConfigError
from classifier_training.inference.decision import Decision
from classifier_training.models.checkpoint import read_validated
from classifier_training.models.decision import fit_decision
from classifier_training.results.results_file import ResultsFile
from classifier_training.run.folder import RunFolder
from classifier_training.run.records import DamagedFileError, read_record, to_json


def fitted_as_asked(run: RunFolder, targets: DecisionConfig) -> Decision | None:
    """Thresholds for other targets than those of the training, fitted to the validation images of the run.

    Raises:
        CheckpointError: ``best.ckpt`` keeps nothing of them.
        ConfigError: A target cannot be reached on them.
    """
    fitted = fit_decision(read_validated(run.best_checkpoint), targets)
    if fitted.reasons:
        raise ConfigError("; ".join(fitted.reasons))
    return fitted.decision


def with_measured(decision: Decision | None, run: RunFolder) -> Decision | None:
    """The decision with what ``results.json`` says of these thresholds; as it is where that is of others."""
    if decision is None:
        return None
    with contextlib.suppress(DamagedFileError, OSError):
        record = read_record(run.results, ResultsFile).decision
        if record is None:
            return decision
        is_of_these = (record.abstain_threshold, record.set_threshold) == (
            decision.abstain_threshold,
            decision.set_threshold,
        )
        if is_of_these:
            return replace(decision, measured={"split": record.split, **to_json(record.measured)})
    return decision
