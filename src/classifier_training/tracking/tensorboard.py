"""TensorBoard: event files in the run folder.

TensorBoard's package makes the records, the text and the hyper-parameters. Its `EventFileWriter`, and PyTorch's
`SummaryWriter` on top of it, are not used: they import TensorFlow where that is installed, give no order to the files
of processes that start in the same second, and never notice a removed file. Both of their image summaries encode the
image again, so a PNG file is put into a message here as it is.
"""

from __future__ import annotations

import itertools
import os
import shlex
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from classifier_training.files.text import plain_text
from classifier_training.tracking.tracker import Figure, ModelFile, TrackerContext

NAME = "tensorboard"
SESSION_METRICS = ("val/top1", "val/loss", "test/top1")


class TensorBoardTracker:
    """Writes an event file of its own for every process of a run.

    An epoch that is trained again after a resume replaces what the killed process wrote of it: TensorBoard drops all
    steps from the one at which a later file begins.

    Args:
        context: The files are in the run's ``tensorboard/``; the memory has the scores that an earlier process wrote.
    """

    def __init__(self, context: TrackerContext) -> None:
        folder, self._root, self._memory = context.run.tensorboard, context.run.root, context.memory
        self.message = f"TensorBoard: tensorboard --logdir {shlex.quote(str(self._root.parent))}"
        folder.mkdir(exist_ok=True)
        self._must_purge = any(folder.iterdir())
        # TensorBoard reads the files in the order of their names: this one comes after those of earlier processes
        starts = (f"events.out.tfevents.{int(time.time()):010d}.{number:04d}" for number in itertools.count())
        start = next(start for start in starts if not any(folder.glob(f"{start}.*")))
        self._file = (folder / f"{start}.{socket.gethostname()}.{os.getpid()}").open("xb")
        try:
            from tensorboard.plugins.hparams import summary_v2
            from tensorboard.summary.writer.record_writer import RecordWriter

            self._writer = RecordWriter(self._file)
            self._event(file_version="brain.Event:2")
            metrics = [summary_v2.Metric(name, display_name=name) for name in SESSION_METRICS]
            self._event(summary=summary_v2.hparams_config_pb(hparams=[], metrics=metrics))
            self._event(summary=summary_v2.hparams_pb(dict(context.settings), plain_text(self._root.name)))
            self._flush()
        except BaseException:
            self._file.close()
            raise

    def log_metrics(self, metrics: Mapping[str, float], step: int) -> None:
        """Writes a scalar for each metric."""
        if self._must_purge:
            from tensorboard.compat.proto import event_pb2

            self._event(step, session_log=event_pb2.SessionLog(status=event_pb2.SessionLog.START))
            self._memory.update(NAME, scores=None)
            self._must_purge = False
        self._scalars(metrics, step)

    def log_figures(self, figures: Sequence[Figure], step: int) -> None:
        """Writes the figures as they are; width and height are in the header of a PNG file."""
        for figure in figures:
            width, height = struct.unpack(">II", figure.png[16:24])
            image = {"width": width, "height": height, "colorspace": 4, "encoded_image_string": figure.png}
            self._event(step, summary=_summary({"tag": figure.name, "image": image}))
        self._flush()

    def log_scores(self, scores: Mapping[str, float], step: int) -> None:
        """Writes the scores as scalars, once."""
        written = {"step": step, **scores}
        if self._memory.of(NAME).get("scores") != written:
            self._scalars(scores, step)
            self._memory.update(NAME, scores=written)

    def log_model(self, model: ModelFile) -> None:
        """Writes the path of the model and its hash: an event file holds no files."""
        from tensorboard.plugins.text.summary_v2 import text_pb

        path = plain_text(model.path.relative_to(self._root).as_posix())
        self._event(summary=text_pb("model/text_summary", f"`{path}`, SHA-256 `{model.sha256}`"))
        self._flush()

    def close(self, *, succeeded: bool) -> None:
        """Ends the session of the hyper-parameters and closes the file."""
        if self._file.closed:
            return
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        status = api_pb2.STATUS_SUCCESS if succeeded else api_pb2.STATUS_FAILURE
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
        content = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end))
        try:
            self._event(summary=_summary({"tag": metadata.SESSION_END_INFO_TAG, "metadata": content}))
            self._flush()
        finally:
            self._file.close()

    def _scalars(self, values: Mapping[str, float], step: int) -> None:
        self._event(step, summary=_summary(*({"tag": name, "simple_value": value} for name, value in values.items())))
        self._flush()

    def _event(self, step: int = 0, **content: Any) -> None:
        from tensorboard.compat.proto import event_pb2

        self._writer.write(event_pb2.Event(wall_time=time.time(), step=step, **content).SerializeToString())

    def _flush(self) -> None:
        """Makes what was written visible to readers.

        Raises:
            FileNotFoundError: The file was removed; what is written into it now is lost.
        """
        self._writer.flush()
        if not Path(self._file.name).exists():
            raise FileNotFoundError(f"{self._file.name} was removed")


def _summary(*values: dict[str, Any]) -> Any:
    from tensorboard.compat.proto import summary_pb2

    return summary_pb2.Summary(value=[summary_pb2.Summary.Value(**value) for value in values])
