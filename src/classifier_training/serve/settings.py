"""What a server is told: where it listens, and what it accepts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, NamedTuple

from classifier_training.errors import ConfigError
from classifier_training.run.cgroup import usable_cpus

MIB: Final = 2**20


_MAX_MODELS: Final = 4


class Threads(NamedTuple):
    """Threads of a process. Batches beside each other waste less than the threads of one that wait for each other.

    Attributes:
        prepare: Threads that decode and resize.
        models: Batches that are computed at a time.
        of_model: Threads of onnxruntime for each.
    """

    prepare: int
    models: int
    of_model: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings:
    """Settings of a server; each has a sensible default.

    Attributes:
        host: The address to listen at. Nobody but this machine reaches the default.
        port: The port; 0 takes a free one.
        workers: Processes that answer; each has the model in memory.
        name: What ``/v2/models/NAME`` calls the model; None: the name of the run or the file.
        api_key: What a request has to bring along; None: nothing.
        max_mb: Largest body of a request, in MiB.
        max_megapixels: Largest image, in millions of pixels.
        max_images: Most images of one request.
        queue: Most images that are on their way at a time; a request beyond gets the status 503.
        timeout: Seconds until a request has its answer, or the status 504.
        max_batch: Most images in a run of the model.
        num_threads: Cores that each process uses; None: those of the machine, shared among the processes.
        labels: The file of class names of an ``.onnx`` file of another program, see `inference.foreign`.
        preprocessing: Its preprocessing.

    Raises:
        ConfigError: A value is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    name: str | None = None
    api_key: str | None = field(default=None, repr=False)
    max_mb: float = 20.0
    max_megapixels: float = 64.0
    max_images: int = 64
    queue: int = 256
    timeout: float = 30.0
    max_batch: int = 8
    num_threads: int | None = None
    labels: str | None = None
    preprocessing: str | None = None

    def __post_init__(self) -> None:
        faults = list(self._faults())
        if faults:
            raise ConfigError("\n".join(faults))

    @property
    def max_bytes(self) -> int:
        """Largest body of a request, in bytes."""
        return int(self.max_mb * MIB)

    @property
    def max_pixels(self) -> int:
        """Largest image, in pixels."""
        return int(self.max_megapixels * 1e6)

    @property
    def max_bytes_together(self) -> int:
        """Most bytes of all bodies that are in memory at a time."""
        return max(4 * self.max_bytes, 256 * MIB)

    @property
    def largest_batch(self) -> int:
        """Most images that are together in a run of the model."""
        return min(self.max_batch, self.queue)

    @property
    def threads(self) -> Threads:
        """How the cores of a process are used."""
        cores = self.num_threads or max(1, usable_cpus() // self.workers)
        num_models = min(cores, _MAX_MODELS)
        return Threads(prepare=min(cores, _MAX_MODELS), models=num_models, of_model=cores // num_models)

    def to_dict(self) -> dict[str, Any]:
        """The values by their names, for another process."""
        return asdict(self)

    def _faults(self) -> Iterator[str]:
        least = {"port": 0, "workers": 1, "max_images": 1, "queue": 1, "max_batch": 1, "num_threads": 1}
        for name in (one.name for one in fields(self)):
            value, option = getattr(self, name), f"--{name.replace('_', '-')}"
            if name in least and value is not None and value < least[name]:
                yield f"serve: {option} must be at least {least[name]}; got {value}"
            if name in {"max_mb", "max_megapixels", "timeout"} and not 0 < value < float("inf"):
                yield f"serve: {option} must be a positive number; got {value}"
        if self.port > 65535:
            yield f"serve: --port must be at most 65535; got {self.port}"
        if self.api_key is not None and (not self.api_key.strip() or not self.api_key.isascii()):
            yield "serve: --api-key must be some ASCII text; without a key, leave it out"
        if self.name is not None and (not self.name or "/" in self.name):
            yield f"serve: --name {self.name!r:.60} must be some text without a slash, as it is part of an address"
