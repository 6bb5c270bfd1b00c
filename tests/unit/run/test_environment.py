from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import torch

from classifier_training.run.environment import PACKAGES, Environment, describe_environment, git_commit
from classifier_training.run.records import read_record, write_record


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "one")
    return tmp_path


def test_the_environment_of_this_process_is_described(tmp_path: Path) -> None:
    found = describe_environment(
        seed=7, data_root=str(tmp_path), fingerprint="abc", order="def", started="2026-11-23T10:00:00+00:00"
    )
    write_record(tmp_path / "environment.json", found)
    assert read_record(tmp_path / "environment.json", Environment) == found
    assert (found.seed, found.data_root) == (7, str(tmp_path))
    assert (found.data_fingerprint, found.data_order) == ("abc", "def")
    assert found.versions.keys() == set(PACKAGES)
    assert torch.__version__.startswith(found.versions["torch"] or "unknown")
    assert found.cpu.threads == torch.get_num_threads()
    assert found.cpu.model
    assert (found.memory_bytes or 0) > 2**28
    assert len(found.gpus) == torch.cuda.device_count()


def test_the_commit_is_the_one_that_is_checked_out(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    assert git_commit(repository) == commit
    git(repository, "tag", "v1")
    assert git_commit(repository) == commit, "a tag's name is not the commit"


def test_changed_files_mark_the_commit(repository: Path) -> None:
    (repository / "code.py").write_text("2\n")
    assert git_commit(repository) == git(repository, "rev-parse", "HEAD") + "-dirty"


def test_there_is_no_commit_outside_of_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert git_commit(tmp_path) is None


def test_there_is_no_commit_before_the_first(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    assert git_commit(tmp_path) is None


def test_a_machine_without_git_has_no_commit(repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(repository))
    assert git_commit(repository) is None
