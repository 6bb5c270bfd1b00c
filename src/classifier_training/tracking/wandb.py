"""Weights & Biases: a run on its server, or files in the run folder that ``wandb sync`` sends later."""

from __future__ import annotations

import io
import os
import secrets
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from classifier_training.files.text import plain_text
from classifier_training.tracking.tracker import Figure, ModelFile, TrackerContext

NAME = "wandb"
INIT_TIMEOUT_SECONDS = 60.0
LIBRARY_VARIABLES = {
    "WANDB_ERROR_REPORTING": "false",  # otherwise it connects to its makers' server, in offline mode too
    "WANDB_SILENT": "true",
}
"""Set before the library is imported, where the user has not set them."""


class WandbTracker:
    """One run of Weights & Biases; a resumed run continues it under the same id.

    Steps only rise there, so that an epoch that is trained again after a resume keeps the values it had.

    Args:
        context: The library's files are in the run's ``wandb/``; the memory has the id. The variable ``WANDB_MODE`` can
            switch the network off too.
    """

    def __init__(self, context: TrackerContext) -> None:
        run, memory, tracking = context.run, context.memory, context.tracking
        for name, value in LIBRARY_VARIABLES.items():
            os.environ.setdefault(name, value)
        import wandb

        self._wandb = wandb
        known = memory.of(NAME)
        self._memory = memory
        self._first_free_step = known.get("last_step", -1) + 1  # after those of an earlier process
        timeout = tracking.timeout_seconds
        mode = "offline" if tracking.wandb_mode == "offline" else os.environ.get("WANDB_MODE", "online")
        if mode == "online" and not wandb.login(prompt=False, verify=False):  # there may be nobody to answer a prompt
            raise RuntimeError("no API key is configured; use `wandb login` once, or tracking.wandb_mode=offline")
        self._run = wandb.init(
            project=tracking.project,
            name=plain_text(run.root.name),
            id=known.get("id") or secrets.token_hex(4),
            resume="allow",
            dir=str(run.root.resolve()),  # the library writes in another process, whose working directory may differ
            config=dict(context.settings),
            allow_val_change=True,
            settings=wandb.Settings(
                mode=mode,
                reinit="create_new",  # another run of this process belongs to other code
                console="off",
                silent=True,
                save_code=False,
                disable_code=True,
                disable_git=True,  # the repository's address may hold a password; environment.json has the commit
                init_timeout=min(INIT_TIMEOUT_SECONDS, 0.9 * timeout),  # so that the library's own reason is reported
                finish_timeout=timeout,
            ),
        )
        memory.update(NAME, id=self._run.id)
        offline = f"wandb sync {shlex.quote(str(run.wandb))}/offline-run-*"
        self.message = f"Weights & Biases: {self._run.url if mode == 'online' else offline}"

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Adds a row to the history, unless it has that step."""
        if step >= max(self._first_free_step, self._run.step):
            self._log(dict(metrics), step)

    def log_figures(self, figures: Sequence[Figure], step: int) -> None:
        """Adds the figures to the row of their step, or to the next one if an earlier process has written it."""
        from PIL import Image

        images = {}
        for figure in figures:
            with Image.open(io.BytesIO(figure.png)) as image:
                images[figure.name] = self._wandb.Image(image.convert("RGB"))
        self._log(images, max(step, self._first_free_step, self._run.step))

    def log_scores(self, scores: Mapping[str, float], step: int) -> None:  # noqa: ARG002 - a summary has no steps
        """Puts the scores into the run's summary."""
        self._run.summary.update(dict(scores))

    def log_model(self, model: ModelFile) -> None:
        """Adds the model as an artifact, without copying it first."""
        self._run.summary.update({"model/sha256": model.sha256})
        artifact = self._wandb.Artifact(f"model-{self._run.id}", "model", metadata={"sha256": model.sha256})
        artifact.add_file(str(model.path.resolve()), name=model.path.name, policy="immutable", skip_cache=True)
        self._run.log_artifact(artifact)

    def close(self, *, succeeded: bool) -> None:
        """Sends everything that is left."""
        self._run.finish(exit_code=0 if succeeded else 1)

    def _log(self, row: dict[str, Any], step: int) -> None:
        self._run.log(row, step=step)
        self._memory.update(NAME, last_step=step)
