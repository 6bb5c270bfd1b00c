"""Photos at an address that holds secrets: they are in no file that is written and in no line that is shown."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.helpers.cli import TINY, Finished, WarmProgram, make_shapes
from tests.helpers.photos import write_table
from tests.helpers.web import WebFolder, serve

SECRET = b"s3cret"
SETTINGS = (*TINY, "trainer.max_epochs=1", "export.enabled=false", "data.cache_dir=secret-cache")


@pytest.fixture(scope="module")
def web(program: WarmProgram) -> Iterator[WebFolder]:
    root = make_shapes(program.folder / "secret" / "photos", 6, seed=5)
    rows = [{"image": f"{path.parent.name}/{path.name}", "label": path.parent.name} for path in root.rglob("*.png")]
    write_table(root / "t.csv", rows)
    with serve(root.parent) as web:
        web.authorization = "me:s3cretword"
        yield web


def address(
    web: WebFolder, path: str = "photos", *, word: str = "s3cretword", query: str = "?sig=s3cretA&x=/s3cretB"
) -> str:
    return f"{web.address.replace('http://', f'http://me:{word}@')}/{path}{query}#s3cretC"


def check(finished: Finished, code: int = 0) -> Finished:
    """Checks the exit code, and that nothing secret is shown."""
    assert finished.code == code, finished
    assert SECRET.decode() not in finished.out + finished.err
    assert "Traceback" not in finished.err
    return finished


def files_with_secrets(*folders: Path) -> list[Path]:
    """Files below with something secret in their bytes or in their name."""
    found = [path for folder in folders for path in folder.rglob("*")]
    assert found
    named = [path for path in found if SECRET.decode() in path.name]
    return named + [path for path in found if path.is_file() and SECRET in path.read_bytes()]


def test_no_secret_is_written_or_shown(program: WarmProgram, web: WebFolder) -> None:
    root, run = address(web), program.folder / "runs" / "secret"
    check(program("train", root, *SETTINGS, "--dry-run"))
    trained = check(program("train", root, *SETTINGS, "run.name=secret"))
    assert f"photos: {web.address}/photos?…, one folder per class" in trained.out
    again = address(web, query="?sig=s3cretD")

    for words in (
        ("evaluate", run, again), ("report", run),
        ("train", "--resume", run, f"data.root={again}", "trainer.max_epochs=2"),
    ):  # fmt: skip
        check(program(*words))
    shutil.rmtree(program.folder / "secret-cache" / "remote")
    lost = check(program("train", "--resume", run, "trainer.max_epochs=3"), 2)
    assert "was recorded without its credentials; give the whole address again with data.root=ADDRESS" in lost.err
    check(program("evaluate", run, "data.cache_dir=secret-cache"), 2)
    given = {"CLASSIFIER_TRAINING_DATA_ROOT": root}
    check(program("evaluate", run, "data.cache_dir=secret-cache", environment=given))

    assert files_with_secrets(run, program.folder / "secret-cache") == []
    assert f"root: '{web.address}/photos?…'" in (run / "config.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "words",
    [
        ("{refused}",), ("{missing}",), ("{table}",), ("{root}", "--epochs", "5"), ("{root}", "{root}"),
        ("s3://me:s3cretword@b/x?s3cretA#s3cretB",),
        ("nothing://me:s3cretword@b/x?s3cretA",), ("data.root={root}", "x=1"),
        ("zip://a.csv::{root}",), ("memory://me:s3cretword@b/x?s3cretA",),
        ("--resume", "{root}"),
    ],
)  # fmt: skip
def test_no_error_shows_a_secret(program: WarmProgram, web: WebFolder, words: tuple[str, ...], tmp_path: Path) -> None:
    places = {
        "root": address(web), "refused": address(web, word="s3cretX"), "missing": address(web, "nowhere"),
        "table": address(web, "photos/nothing.csv"),
    }  # fmt: skip
    finished = program("train", *(word.format(**places) for word in words), *TINY, "data.cache_dir=c", folder=tmp_path)

    check(finished, 2)
    assert finished.err.count("\n") == 1
    assert not (tmp_path / "runs").exists()
