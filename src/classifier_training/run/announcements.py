"""What the first process of a training decides for a later step, and all others read when they come there."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import torch

from classifier_training.errors import ClassifierTrainingError

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

MAX_WAIT_SECONDS: Final = 300.0
"""How long a process waits for what the first one must have announced."""


class Announcements:
    """Numbers that the first process announces ahead of the step that they are for, so that no process waits there.

    Args:
        store: The store that all processes share.
        name: Unique in the store, the same in all processes.
    """

    def __init__(self, store: Store, name: str) -> None:
        distributed: Any = torch.distributed  # which does not say that it exports this class
        self._store: Store = distributed.PrefixStore(name, store)

    def announce(self, step: int, values: list[float]) -> None:
        """Announces what holds from a step on; only the first process does.

        Args:
            step: To come.
            values: Plain numbers.
        """
        self._store.set(str(step), json.dumps(values))

    def read(self, step: int) -> list[float]:
        """What was announced for a step.

        Raises:
            ClassifierTrainingError: Nothing was.
        """
        end = time.monotonic() + MAX_WAIT_SECONDS
        while not self._store.check([str(step)]):  # a blocking call would keep other threads from using the store
            if time.monotonic() > end:
                raise ClassifierTrainingError(
                    f"the first process of this training has not said for {MAX_WAIT_SECONDS:.0f} s how its time is"
                    " spent; resume the run from its last checkpoint"
                )
            time.sleep(0.001)
        values: Any = json.loads(self._store.get(str(step)))
        return [float(value) for value in values]
