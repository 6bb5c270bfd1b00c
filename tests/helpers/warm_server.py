"""The program of `WarmProgram`: imports what a training imports on its way, then forks a process for each job.

It is run as ``python -c``, so that a job finds the modules of the folder that it runs in, and no others.
"""

from __future__ import annotations

import contextlib
import json
import os
import pkgutil
import sys
import traceback
from importlib import import_module
from typing import Any

import PIL.Image
import pyarrow as pa

import classifier_training

LIBRARIES = (
    "matplotlib.figure",
    "onnxruntime",
    "psutil",
    "tensorboard.compat.proto.event_pb2",
    "tensorboard.plugins.hparams.summary_v2",
    "tensorboard.plugins.text.summary_v2",
    "tensorboard.summary.writer.record_writer",
    "torch.onnx._internal.torchscript_exporter.utils",
    "typer._adapters",
)
"""What is imported on the way, where it is needed."""


def prepare() -> None:
    """Does what every process would have to do for itself."""
    for name in LIBRARIES:
        import_module(name)
    for module in pkgutil.walk_packages(classifier_training.__path__, "classifier_training."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
    PIL.Image.init()
    pa.array(["a"])
    environment = import_module("classifier_training.pages.templating").environment()
    for name in environment.list_templates():
        environment.get_template(name)  # compiled once


def run(job: dict[str, Any]) -> int:
    """Runs a job in this process, which is its own; returns its exit code."""
    os.setpgid(0, 0)  # what is sent to its group is sent to its loader processes, and not to the tests
    os.environ.update(job["environment"])
    os.chdir(job["folder"])
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, name in ((1, job["stdout"]), (2, job["stderr"])):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    # new ones, as Python opens them: those of the server remember its encoding, and what sort of file they wrote to
    encoding = os.environ.get("PYTHONIOENCODING")
    sys.stdout, sys.stderr = (open(number, "w", 1, encoding, closefd=False) for number in (1, 2))  # noqa: SIM115 - kept
    sys.argv = ["classifier-training", *job["words"]]
    try:
        if job["script"] is None:
            import_module("classifier_training.cli").main(job["words"])
        else:
            exec(job["script"], {})  # noqa: S102 - of a test
        code: Any = 0
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):  # as Python does it
            sys.stderr.write(f"{code}\n")
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return int(code)


def serve() -> None:
    """Answers each line: a job with the id of its process, a process to wait for with its exit code."""
    for line in sys.stdin:
        job = json.loads(line)
        if "wait" in job:
            _, status = os.waitpid(job["wait"], 0)
            answer(os.waitstatus_to_exitcode(status))
            continue
        child = os.fork()
        if child == 0:
            os._exit(run(job))  # the ordinary end would wait for threads that only the first process has
        with contextlib.suppress(OSError):  # it has done so itself and ended
            os.setpgid(child, child)
        answer(child)


def answer(number: int) -> None:
    """Tells the tests."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    prepare()
    serve()
