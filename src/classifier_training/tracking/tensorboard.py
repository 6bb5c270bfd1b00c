"""TensorBoard: event files in the run folder.

The events are written with TensorBoard's own messages and record writer, which takes 0.3 s to import. PyTorch's
`SummaryWriter` writes the same, but imports TensorFlow where that is installed, decodes and encodes every image
again, and has its errors in a thread that nobody asks.
"""

from __future__ import annotations

import os
import shlex
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from classifier_training.files.text import plain_text
from classifier_training.run.folder import RunFolder
from classifier_training.tracking.memory import TrackerMemory
from classifier_training.tracking.tracker import Figure, ModelFile
from classifier_training.tracking.values import Value

NAME = "tensorboard"
SESSION_METRICS = ("val/top1", "val/loss", "test/top1")


class TensorBoardTracker:
    """Writes an event file of its own for every process of a run.

    An epoch that is trained again after a resume replaces what the killed process wrote of it: TensorBoard forgets all
    steps from the one at which a later file begins.

    Args:
        run: The run; the files lie in its ``tensorboard/``.
        settings: The settings by their dotted names.
        memory: Knows the scores that an earlier process has written.
    """

    def __init__(self, run: RunFolder, settings: Mapping[str, Value], memory: TrackerMemory) -> None:
        self.message = f"TensorBoard: tensorboard --logdir {shlex.quote(str(run.root.parent))}"
        self._root = run.root
        self._memory = memory
        run.tensorboard.mkdir(exist_ok=True)
        self._must_purge = any(run.tensorboard.iterdir())
        self._path, self._file = _open_event_file(run.tensorboard)
        try:
            self._writer = _record_writer(self._file)
            self._event(file_version="brain.Event:2")
            self._hyperparameters(settings)
            self._flush()
        except BaseException:
            self._file.close()
            raise

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Writes a scalar for each metric."""
        self._purge(step)
        self._scalars(metrics, step)

    def log_figures(self, figures: Sequence[Figure], step: int) -> None:
        """Writes the figures as they are."""
        for figure in figures:
            self._event(step, summary=_summary({"tag": figure.name, "image": _image(figure.png)}))
        self._flush()

    def log_scores(self, scores: Mapping[str, float], step: int) -> None:
        """Writes the scores as scalars, once."""
        written = {"step": step, **scores}
        if self._memory.of(NAME).get("scores") != written:
            self._scalars(scores, step)
            self._memory.update(NAME, scores=written)

    def log_model(self, model: ModelFile) -> None:
        """Writes where the model lies, and its hash: an event file holds no files."""
        path = plain_text(model.path.relative_to(self._root).as_posix())
        self._event(summary=_summary(_text("model", f"`{path}`, SHA-256 `{model.sha256}`")))
        self._flush()

    def close(self, *, succeeded: bool) -> None:
        """Ends the session of the hyper-parameters and closes the file."""
        if self._file.closed:
            return
        try:
            self._hparams_event("session_end_info", **_session_end(succeeded=succeeded))
            self._flush()
        finally:
            self._file.close()

    def _purge(self, step: int) -> None:
        """Has TensorBoard forget what an earlier process wrote of this step and later ones."""
        if self._must_purge:
            from tensorboard.compat.proto import event_pb2

            self._event(step, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
            self._memory.update(NAME, scores=None)
            self._must_purge = False

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        self._event(step, summary=_summary(*({"tag": name, "simple_value": value} for name, value in values.items())))
        self._flush()

    def _hyperparameters(self, settings: Mapping[str, Value]) -> None:
        from tensorboard.plugins.hparams import api_pb2

        infos = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=name), display_name=name) for name in SESSION_METRICS]
        self._hparams_event("experiment", experiment=api_pb2.Experiment(metric_infos=infos))
        self._hparams_event("session_start_info", **_session_start(settings))

    def _hparams_event(self, tag: str, **data: Any) -> None:
        from tensorboard.plugins.hparams import metadata, plugin_data_pb2

        content = plugin_data_pb2.HParamsPluginData(version=metadata.PLUGIN_DATA_VERSION, **data)
        plugin = {"plugin_name": metadata.PLUGIN_NAME, "content": content.SerializeToString()}
        self._event(summary=_summary({"tag": f"_hparams_/{tag}", "metadata": {"plugin_data": plugin}}))

    def _event(self, step: int = 0, **content: Any) -> None:
        from tensorboard.compat.proto import event_pb2

        self._writer.write(event_pb2.Event(wall_time=time.time(), step=step, **content).SerializeToString())

    def _flush(self) -> None:
        """Has readers see what was written.

        Raises:
            FileNotFoundError: The file was removed; what is written into it now is lost.
        """
        self._writer.flush()
        if not self._path.exists():
            raise FileNotFoundError(f"{self._path} was removed")


def _open_event_file(folder: Path) -> tuple[Path, IO[bytes]]:
    """A new file whose name comes after those of earlier processes: TensorBoard reads them in the order of names."""
    host, number = socket.gethostname(), 0
    while True:
        path = folder / f"events.out.tfevents.{int(time.time()):010d}.{number:04d}.{host}.{os.getpid()}"
        if not any(folder.glob(f"events.out.tfevents.{int(time.time()):010d}.{number:04d}.*")):
            return path, path.open("xb")
        number += 1


def _record_writer(file: IO[bytes]) -> Any:
    from tensorboard.summary.writer.record_writer import RecordWriter

    return RecordWriter(file)


def _summary(*values: dict[str, Any]) -> Any:
    from tensorboard.compat.proto import summary_pb2

    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(**value) for value in values])


def _image(png: bytes) -> dict[str, Any]:
    """The message of a PNG file, whose width and height stand in its header."""
    width, height = struct.unpack(">II", png[16:24])
    return {"width": width, "height": height, "colorspace": 4, "encoded_image_string": png}


def _text(tag: str, text: str) -> dict[str, Any]:
    from tensorboard.compat.proto import tensor_pb2, types_pb2

    return {
        "tag": f"{tag}/text_summary",
        "metadata": {"plugin_data": {"plugin_name": "text"}},
        "tensor": tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[text.encode()]),
    }


def _session_start(settings: Mapping[str, Value]) -> dict[str, Any]:
    from tensorboard.plugins.hparams import plugin_data_pb2

    started = plugin_data_pb2.SessionStartInfo(start_time_secs=time.time())
    for name, setting in settings.items():
        kind = "bool" if isinstance(setting, bool) else "string" if isinstance(setting, str) else "number"
        setattr(started.hparams[name], f"{kind}_value", setting)
    return {"session_start_info": started}


def _session_end(*, succeeded: bool) -> dict[str, Any]:
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
    return {"session_end_info": plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())}
