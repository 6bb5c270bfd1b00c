"""Every command and program of README and docs runs, on small data; what cannot run here is at least valid."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer.main
from tests.docs.conftest import Shell
from tests.helpers.docs import ROOT, Block, runnable_blocks

from classifier_training.cli.main import app
from classifier_training.config import load_config

BLOCKS = runnable_blocks()
RUN = [block for block in BLOCKS if block.not_run is None]
NOT_RUN = [block for block in BLOCKS if block.not_run is not None]
PROGRAM = "classifier-training"


@pytest.fixture(scope="module")
def pages(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy of the prepared folder for each page, in which its blocks run in order."""
    root = tmp_path_factory.mktemp("pages")
    for page in {block.page for block in RUN}:
        shutil.copytree(prepared, root / page.stem)
    return root


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.name)
def test_a_block_runs(block: Block, pages: Path, shell: Shell) -> None:
    folder = pages / block.page.stem
    if block.language == "python":
        finished = shell.python(block.code, folder)
    else:
        finished = shell("\n".join(block.commands), folder)
    assert finished.code == 0, finished
    if block.language == "console":
        printed = [skeleton(line) for line in (finished.out + finished.err).splitlines()]
        for line in block.output:  # a line that ends with … was cut there
            shown = skeleton(line.removesuffix("…"))
            assert any(one.startswith(shown) for one in printed), f"not printed: {line}\n{finished}"


def skeleton(line: str) -> str:
    """A line of output without what differs from run to run: numbers, times, widths of columns."""
    line = re.sub(r"\d[\d.,:e+-]*", "#", line)
    line = re.sub(r"# (min|s|h|ms|kB|MB|GB)\b", "#", line)
    return re.sub(r"(# ?)+", "# ", re.sub(r"\s+", " ", line)).strip()


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.name)
def test_a_block_that_cannot_run_here_is_valid(block: Block) -> None:
    assert len(block.not_run or "") > 10, "the comment gives no reason"
    if block.language == "python":
        compile(block.code, block.name, "exec")
        return
    for command in block.commands:
        words = shlex.split(command)
        if PROGRAM in words or "classifier_training" in words:
            name = PROGRAM if PROGRAM in words else "classifier_training"
            check_command(words[words.index(name) + 1 :])
        elif words[0] == "make":
            target = next(word for word in words[1:] if "=" not in word)
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE), command
        else:
            for word in words:
                if re.match(r"(benchmarks|scripts|\.ci)/", word):
                    assert (ROOT / word).exists(), command


def check_command(words: list[str]) -> None:
    """Parses a command with the program's own parser, and reads its settings."""
    command: Any = typer.main.get_command(app)
    path = PROGRAM
    while words and words[0] in getattr(command, "commands", {}):
        command, path, words = command.commands[words[0]], f"{path} {words[0]}", words[1:]
    command.make_context(path, list(words))
    load_config([word for word in words if re.match(r"[a-z_]+(\.[a-z_]+)*=", word)])


def test_only_a_few_blocks_are_not_run() -> None:
    """Apart from the benchmarks, which take minutes each."""
    not_run = [block for block in NOT_RUN if block.page.stem != "benchmarks"]
    assert len(RUN) >= 3 * len(not_run)
