"""Training where Python starts processes in another way, or allows none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.helpers.cli import ENVIRONMENT, TINY, WarmProgram

SETTINGS = (*TINY, "trainer.max_epochs=1", "export.enabled=false", "data.num_workers=2")


def test_a_daemonic_process_trains_without_loader_processes(program: WarmProgram, photos: Path, tmp_path: Path) -> None:
    script = (
        "import multiprocessing, sys\nfrom classifier_training import train\n"
        "with multiprocessing.get_context('fork').Pool(1) as pool:\n"
        "    print(pool.apply(train, sys.argv[1:]).run)"
    )
    finished = program.python(script, photos, *SETTINGS, "trainer.devices=2", folder=tmp_path)
    assert finished.code == 0, finished
    assert finished.out.count("this process is daemonic") == 1
    assert finished.out.count("training uses one device instead of 2") == 1


def test_a_spawned_script_without_a_main_guard_is_one_line_and_one_run(photos: Path, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import multiprocessing, sys\nimport classifier_training.cli as cli\n"
        "multiprocessing.set_start_method('spawn', force=True)\ncli.main(['train', *sys.argv[1:]])"
    )
    ended = subprocess.run(
        [sys.executable, script, photos, *SETTINGS, "data.num_workers=1"],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2, ended
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: the loader processes could not start: the script has no main guard")
    assert len(list((tmp_path / "runs").iterdir())) == 1
