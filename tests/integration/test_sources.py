"""Training from every kind of source gives what training from the same photos in folders gives."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.helpers.cli import TINY, WarmProgram, make_shapes
from tests.helpers.photos import write_table
from tests.helpers.shards import write_hub_parquet
from tests.helpers.web import WebFolder, serve

SETTINGS = (*TINY, "trainer.max_epochs=2", "optimizer.lr=3e-4", "data.on_bad_image=raise")
CLASSES = ["blue", "green", "red"]


@pytest.fixture(scope="module")
def served(program: WarmProgram) -> Path:
    """Photos in split folders, and the same photos in every other form."""
    root = program.folder / "served"
    flat = make_shapes(program.folder / "flat", 12, seed=5)
    for name in CLASSES:
        for number, path in enumerate(sorted((flat / name).iterdir())):
            split = ("train", "train", "val", "test")[number % 4]
            (root / "folders" / split / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / "folders" / split / name / path.name)
    rows = [
        {"image": f"../folders/{split}/{path.parent.name}/{path.name}", "label": path.parent.name, "split": split}
        for split in ("train", "val", "test")
        for path in sorted((root / "folders" / split).rglob("*.png"))
    ]
    write_table(root / "table" / "t.csv", rows)
    for split in ("train", "val", "test"):
        paths = [root / "table" / str(row["image"]) for row in rows if row["split"] == split]
        write_hub_parquet(
            root / "hub" / "data" / f"{split}-00000-of-00001.parquet",
            [CLASSES.index(path.parent.name) for path in paths],
            names=CLASSES,
            images=[{"bytes": path.read_bytes(), "path": path.name} for path in paths],
        )
    prepared = program("prepare", root / "folders", "--to", root / "shards", "--shard-size", "20kB")
    assert prepared.code == 0, prepared
    return root


@pytest.fixture(scope="module")
def web(served: Path) -> Iterator[WebFolder]:
    with serve(served) as web:
        yield web


@pytest.fixture(scope="module")
def expected(program: WarmProgram, served: Path) -> dict[str, object]:
    return train(program, "served/folders", "folders")


def train(program: WarmProgram, root: str, name: str) -> dict[str, object]:
    """Everything that a run measures."""
    finished = program("train", root, *SETTINGS, f"run.name={name}")
    assert finished.code == 0, finished
    run = program.folder / "runs" / name
    with (run / "data" / "split.csv").open(encoding="utf-8", newline="") as file:
        split = [(row["split"], row["label"], row["digest"]) for row in csv.DictReader(file)]
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    again = program("evaluate", f"runs/{name}", "--json")
    assert again.code == 0, again
    return {
        "split": split,
        "scores": {key: results[key] for key in ("best", "test")},
        "evaluated": again.json["top1"],
        "losses": _columns(run / "metrics.csv"),
    }


def _columns(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: value for key, value in row.items() if "loss" in key} for row in csv.DictReader(file)]


@pytest.mark.parametrize("form", ["shards", "shards/{train,val,test}-000000.tar", "table/t.csv", "hub"])
def test_local(program: WarmProgram, served: Path, expected: dict[str, object], form: str) -> None:
    if "{" in form:
        assert len(list((served / "shards").glob("*.tar"))) > 3
        small = program("prepare", served / "folders", "--to", served / "whole")
        assert small.code == 0, small
        form = form.replace("shards", "whole")

    assert train(program, f"served/{form}", "local-" + form.partition("/")[0]) == expected


@pytest.mark.parametrize("form", ["folders", "shards", "table/t.csv", "hub"])
def test_remote(program: WarmProgram, web: WebFolder, expected: dict[str, object], form: str) -> None:
    assert train(program, f"{web.address}/{form}", "remote-" + form.partition("/")[0]) == expected


def test_what_was_fetched_is_not_fetched_again(program: WarmProgram, web: WebFolder) -> None:
    finished = program("train", f"{web.address}/shards", *SETTINGS, "--dry-run")
    assert finished.code == 0, finished
    before = dict(web.gets)

    assert program("train", f"{web.address}/shards", *SETTINGS, "--dry-run").code == 0

    tars = {path: count for path, count in web.gets.items() if path.endswith(".tar")}
    assert tars == {path: before[path] for path in tars}
    assert tars


def test_reduced_shards_train_too(program: WarmProgram, served: Path) -> None:
    finished = program("prepare", served / "folders", "--to", "small", "--size", "20", "seed=1")
    assert finished.code == 0, finished
    assert "images in 3 shard(s), written to" in finished.out
    assert "warning" not in finished.out

    assert program("train", "small", *SETTINGS, "run.name=small").code == 0


def test_settings_that_do_not_decide_the_shards_are_named(program: WarmProgram, served: Path) -> None:
    finished = program("prepare", served / "folders", "--to", "named", "data.hflip=0", "model=resnet50")

    assert finished.code == 0, finished
    assert "so prepare does not use data.hflip=0, model=resnet50" in finished.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("prepare", "nowhere", "--to", "x"), "there is no folder nowhere"),
        (("prepare", "served/folders"), "missing option '--to'"),
        (
            ("prepare", "served/folders", "--format", "cache", "--to", "x", "--size", "9"),
            "are for shards; a cache keeps",
        ),
        (("prepare", "served/folders", "--to", "served/folders/x"), "which lies in the photos"),
        (("prepare", "served/folders", "--to", "x", "--shard-size", "big"), "is not a number of bytes"),
        (("prepare", "served/folders", "--to", "x", "data.rooot=1"), "data.rooot"),
        (
            ("prepare", "served/folders", "--format", "cache", "--to", "x", "data.cache_dir=y", "data.cache=memory"),
            "data.cache_dir=y, data.cache=memory has no effect here: the images are stored in --to; leave it out",
        ),
        (("train", "served/shards/train-{000000..000099}.tar"), "files of"),
        (("train", "s3://bucket/photos"), "install it: pip install s3fs"),
        (("train", "http://127.0.0.1:9/photos.tar.gz"), "is compressed"),
    ],
)
def test_mistakes_are_one_line(program: WarmProgram, served: Path, words: tuple[str, ...], message: str) -> None:
    finished = program(*words)

    assert finished.code == 2
    assert message in finished.err
    assert len(finished.err.splitlines()) == 1


def test_a_file_in_a_shard_that_is_not_an_image(program: WarmProgram, tmp_path: Path) -> None:
    from tests.helpers.shards import write_tar

    good = io.BytesIO()
    Image.new("RGB", (40, 40), "red").save(good, "PNG")
    members = [(f"{number}.{kind}", content) for number in range(8) for kind, content in (
        ("png", good.getvalue()[: -20 if number == 3 else None]), ("cls", str(number % 2).encode()))]  # fmt: skip
    shard = write_tar(tmp_path / "train-0.tar", members)

    finished = program("train", shard, *TINY, "--dry-run")

    assert finished.code == 2
    assert f"1 file(s) are not readable images: cannot read {shard}::3.png: " in finished.err
