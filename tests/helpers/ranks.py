"""Runs a function in several processes that train together over gloo, as Lightning's own launcher would start them."""

from __future__ import annotations

import json
import os
import socket
import sys
import traceback
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from lightning.pytorch.strategies import DDPStrategy
from tests.helpers.cli import WarmProgram

_ROOT = Path(__file__).parents[2]
_SCRIPT = """
import sys

sys.path.insert(0, sys.argv[1])
from tests.helpers.ranks import main

main(*sys.argv[2:])
"""


def run_ranks(
    program: WarmProgram, job: Callable[..., Any], world_size: int, folder: Path, **options: Any
) -> list[Any]:
    """Calls a function in ``world_size`` processes.

    Args:
        program: Has everything imported already.
        job: A function of a test module, ``job(folder, world_size, **options)``; what it returns must fit into JSON.
        world_size: Number of processes.
        folder: Theirs alone, made when missing.
        options: For ``job``, as JSON values.

    Returns:
        What each of them returned, by rank.

    Raises:
        AssertionError: One of them failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    words = (_ROOT, job.__module__, job.__name__, str(world_size), folder, json.dumps(options))
    finished = program.python(_SCRIPT, *words)
    if finished.code:
        raise AssertionError(str(finished))
    return [json.loads(_answer(folder, rank).read_text(encoding="utf-8")) for rank in range(world_size)]


def gloo(**options: Any) -> DDPStrategy:
    """Data-parallel training on CPUs, in which a rank that waits in vain fails within a minute."""
    return DDPStrategy(process_group_backend="gloo", timeout=timedelta(minutes=1), **options)


def main(module: str, name: str, world_size: str, folder: str, options: str) -> None:
    """Starts the ranks and waits for them; exits with 1 when one of them failed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NODE_RANK": "0"}
    job = getattr(import_module(module), name)  # imported once, before there are several
    children = []
    for rank in range(int(world_size)):
        child = os.fork()
        if child == 0:
            os.environ["LOCAL_RANK"] = str(rank)
            _be_rank(rank, job, Path(folder), int(world_size), json.loads(options))
        children.append(child)
    codes = [os.waitpid(child, 0)[1] for child in children]
    sys.exit(int(any(codes)))


def _be_rank(rank: int, job: Callable[..., Any], folder: Path, world_size: int, options: dict[str, Any]) -> None:
    code = 1
    try:
        answer = job(folder, world_size, **options)
        _answer(folder, rank).write_text(json.dumps(answer), encoding="utf-8")
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the ordinary end would wait for threads that only the first process has


def _answer(folder: Path, rank: int) -> Path:
    return folder / f"rank{rank}.json"
