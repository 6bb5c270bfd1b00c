from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers.photos import make_photo, make_photos, make_split_photos, photo_rows, write_table
from tests.helpers.shards import write_hub_parquet

from classifier_training.config import load_config
from classifier_training.data.packing.prepare import Prepared, prepare
from classifier_training.data.photos import load_photos
from classifier_training.data.sources.listing import Listing
from classifier_training.data.sources.shards import list_shards
from classifier_training.errors import ConfigError, DataError
from classifier_training.imaging.decode import decode_image


def shards_in(folder: Path) -> Listing:
    listing = list_shards(str(folder))
    assert listing is not None
    return listing


def all_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def contents(listing: Listing, split: str) -> list[tuple[str, bytes]]:
    return [(sample.label, sample.image.read()) for sample in listing.samples(split)]  # type: ignore[arg-type]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_split_photos(tmp_path / "photos", 6, 3, 3)


def test_shards_hold_the_very_same_images_in_the_same_order(tmp_path: Path, photos: Path) -> None:
    done = prepare(photos, to=tmp_path / "shards", shard_size="5kB")

    config = load_config([f"data.root={photos}"])
    before = load_photos(config.data, config.seed)
    listing = shards_in(tmp_path / "shards")
    for split in ("train", "val", "test"):
        expected = [(sample.label, sample.image.read()) for sample in before.samples(split)]
        assert contents(listing, split) == expected
    assert json.loads((tmp_path / "shards" / "classes.json").read_text()) == ["cat", "dog"]
    assert listing.warnings == []
    assert done == Prepared(
        folder=tmp_path / "shards",
        counts={"train": 12, "val": 6, "test": 6},
        num_shards=12,
        num_kept=0,
        num_bytes=sum(path.stat().st_size for path in (tmp_path / "shards").glob("*.tar")),
    )


def test_files_are_named_as_webdataset_expects(tmp_path: Path, photos: Path) -> None:
    prepare(photos, to=tmp_path / "shards")

    names = sorted(path.name for path in (tmp_path / "shards").iterdir())
    assert names == ["classes.json", "prepare.json", "test-000000.tar", "train-000000.tar", "val-000000.tar"]
    with tarfile.open(tmp_path / "shards" / "val-000000.tar") as tar:
        assert tar.getnames()[:4] == ["val/cat/0.png", "val/cat/0.cls", "val/cat/1.png", "val/cat/1.cls"]
        cls = tar.extractfile("val/cat/0.cls")
        assert cls is not None
        assert cls.read() == b"cat"


def test_repeated_it_gives_the_same_bytes_wherever_the_photos_lie(tmp_path: Path, photos: Path) -> None:
    prepare(photos, to=tmp_path / "a", size=12, shard_size="5kB")
    shutil.copytree(photos, tmp_path / "moved")
    prepare(tmp_path / "moved", to=tmp_path / "b", size=12, shard_size="5kB")

    assert all_files(tmp_path / "a") == all_files(tmp_path / "b")


def test_splits_that_the_photos_do_not_define_are_packed_as_training_would_make_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 30, "dog": 30})

    done = prepare(photos, "seed=3", "data.test_fraction=0", to=tmp_path / "shards")

    config = load_config([f"data.root={photos}", "seed=3", "data.test_fraction=0"])
    before = load_photos(config.data, config.seed)
    assert done.counts == {split: len(rows) for split, rows in before.rows.items()}
    assert list(done.counts) == ["train", "val"]
    assert "seed 3 decide its split" in capsys.readouterr().out
    assert contents(shards_in(tmp_path / "shards"), "val") == [
        (sample.label, sample.image.read()) for sample in before.samples("val")
    ]


def test_sizes(tmp_path: Path) -> None:
    for split in ("train", "val"):
        make_photo(tmp_path / "photos" / split / "cat" / "large.png", 0, (80, 60))
        make_photo(tmp_path / "photos" / split / "dog" / "small.png", 1, (80, 30))

    prepare(tmp_path / "photos", to=tmp_path / "shards", size=30)

    large, small = shards_in(tmp_path / "shards").samples("train")
    assert (large.image.member, small.image.member) == ("train/cat/large.jpg", "train/dog/small.png")
    assert small.image.read() == (tmp_path / "photos" / "train" / "dog" / "small.png").read_bytes()
    with tarfile.open(tmp_path / "shards" / "train-000000.tar") as tar:
        file = tar.extractfile("train/cat/large.jpg")
        assert file is not None
        with Image.open(file) as image:
            assert (image.format, image.size) == ("JPEG", (40, 30))


def test_class_names_stay_text(tmp_path: Path) -> None:
    labels = ["00", "0", "1", "no", "1e3", " x ", "a,b", "two\nlines", "end\n", "Ünï"]
    rows = [{**row, "split": split} for split in ("train", "val") for row in photo_rows(tmp_path / "photos", labels)]
    table = write_table(tmp_path / "photos" / "t.csv", rows)

    prepare(table, to=tmp_path / "shards")

    assert [label for label, _ in contents(shards_in(tmp_path / "shards"), "train")] == [
        label.strip() for label in labels
    ]


def test_images_of_the_same_name(tmp_path: Path) -> None:
    """As the hub's files name them: each file counts from 0."""
    for number, split in enumerate(("train-0", "train-1", "val-0")):
        images = [
            {"bytes": make_photo(tmp_path / "x.png", 10 * number + n).read_bytes(), "path": f"{n}"} for n in (0, 1)
        ]
        write_hub_parquet(tmp_path / "hub" / f"{split}.parquet", [0, 1], names=["cat", "dog"], images=images)
    prepare(tmp_path / "hub", to=tmp_path / "shards")

    listing = shards_in(tmp_path / "shards")
    assert [sample.image.member for sample in listing.samples("train")] == ["0~0.png", "1~1.png", "0~2.png", "1~3.png"]
    assert [sample.image.member for sample in listing.samples("val")] == ["0.png", "1.png"]


def test_what_was_finished_is_kept(tmp_path: Path, photos: Path) -> None:
    prepare(photos, to=tmp_path / "shards", shard_size="5kB")
    before = all_files(tmp_path / "shards")
    kept = tmp_path / "shards" / "train-000001.tar"
    inode = kept.stat().st_ino
    (tmp_path / "shards" / "val-000000.tar").unlink()
    damaged = bytearray(before["train-000003.tar"])
    damaged[600] ^= 1
    (tmp_path / "shards" / "train-000003.tar").write_bytes(damaged)

    done = prepare(photos, to=tmp_path / "shards", shard_size="5kB")

    assert all_files(tmp_path / "shards") == before
    assert (done.num_shards, done.num_kept) == (12, 10)
    assert kept.stat().st_ino == inode


@pytest.mark.parametrize("survivors", [0, 1, 5])
def test_killed_and_started_again_it_ends_with_the_same_bytes(tmp_path: Path, photos: Path, survivors: int) -> None:
    prepare(photos, to=tmp_path / "whole", size=12, shard_size="5kB")
    script = textwrap.dedent("""
        import os, sys
        from classifier_training.data.packing import shard_writing, pack as packing
        from classifier_training.data.packing.prepare import prepare

        left = int(sys.argv[3])
        write = packing.write_shard

        def write_or_die(path, samples, num_bytes):
            global left
            if left == 0:
                add = shard_writing._add
                shard_writing._add = lambda *a: (add(*a), os._exit(9))
            left -= 1
            return write(path, samples, num_bytes)

        packing.write_shard = write_or_die
        prepare(sys.argv[1], to=sys.argv[2], size=12, shard_size="5kB")
    """)
    target = tmp_path / "killed"
    command = [sys.executable, "-c", script, str(photos), str(target), str(survivors)]
    assert subprocess.run(command, check=False).returncode == 9
    assert len(list(target.glob("*.tar"))) == survivors
    assert len(list(target.glob(".*.tmp"))) == 1
    if survivors:
        with pytest.raises(DataError, match=r"is not finished; run the same classifier-training prepare again"):
            list_shards(str(target))

    done = prepare(photos, to=target, size=12, shard_size="5kB")

    assert done.num_kept == survivors
    assert all_files(target) == all_files(tmp_path / "whole")


def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path, photos: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "thesis.txt").write_text("precious")

    with pytest.raises(DataError, match=rf"^{target} holds something else and is left as it is; name a new folder"):
        prepare(photos, to=target)

    assert all_files(target) == {"thesis.txt": b"precious"}
    with pytest.raises(DataError, match=rf"^{target}/thesis\.txt is a file; name a folder for the shards$"):
        prepare(photos, to=target / "thesis.txt")


def test_shards_of_other_photos_or_settings_are_left_as_they_are(tmp_path: Path, photos: Path) -> None:
    prepare(photos, to=tmp_path / "shards")
    before = all_files(tmp_path / "shards")

    with pytest.raises(DataError, match=r"holds shards of another size; remove it, or name another folder$"):
        prepare(photos, to=tmp_path / "shards", size=8)
    with pytest.raises(DataError, match=r"holds shards of another shard_size"):
        prepare(photos, to=tmp_path / "shards", shard_size="1MB")
    make_photo(photos / "train" / "cat" / "new.png", 99)
    with pytest.raises(DataError, match=r"holds shards of other photos, labels or splits"):
        prepare(photos, to=tmp_path / "shards")

    assert all_files(tmp_path / "shards") == before


def test_shards_among_the_photos_are_refused(tmp_path: Path, photos: Path) -> None:
    for target in (photos, photos / "shards", photos / "train" / "cat"):
        with pytest.raises(DataError, match=rf"^the shards cannot be written to {target}, which lies in the photos"):
            prepare(photos, to=target)
    assert not (photos / "shards").exists()


@pytest.mark.parametrize("shard_size", ["", "x", "0", "-5MB", "256 apples"])
def test_invalid_shard_sizes(tmp_path: Path, photos: Path, shard_size: str) -> None:
    with pytest.raises(ConfigError, match=r"is not a number of bytes; give one such as 256MB or 1GiB"):
        prepare(photos, to=tmp_path / "shards", shard_size=shard_size)


def test_an_invalid_size(tmp_path: Path, photos: Path) -> None:
    with pytest.raises(ConfigError, match="size=0 is not a length in pixels"):
        prepare(photos, to=tmp_path / "shards", size=0)


def test_bad_images(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (photos / "train" / "cat" / "bad.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1 file\(s\) are not readable images: .*bad\.png"):
        prepare(photos, to=tmp_path / "shards")
    assert not (tmp_path / "shards").exists()

    done = prepare(photos, "data.on_bad_image=skip", to=tmp_path / "shards")

    assert done.counts["train"] == 12
    assert f"1 unreadable file(s) left out: {photos}/train/cat/bad.png" in capsys.readouterr().out


def test_weights_that_shards_cannot_hold_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = ["cat", "dog"] * 10
    rows = [{**row, "w": 2} for row in photo_rows(tmp_path / "photos", labels)]
    table = write_table(tmp_path / "photos" / "t.csv", rows)

    prepare(table, "data.weight_column=w", to=tmp_path / "shards", quiet=True)

    out = capsys.readouterr().out
    assert "warning: sampling weights are not packed: shards hold images and class names only" in out


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="this user may write everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)

    with pytest.raises(DataError, match=r"cannot write the shards to .*Permission denied"):
        prepare(photos, to=tmp_path / "locked" / "shards")


def test_a_disk_that_is_full(tmp_path: Path, photos: Path) -> None:
    script = textwrap.dedent("""
        import resource, sys
        from classifier_training.errors import DataError
        from classifier_training.data.packing.prepare import prepare

        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, 12_000))
        try:
            prepare(sys.argv[1], to=sys.argv[2])
        except DataError as error:
            sys.exit(str(error))
    """)
    target = tmp_path / "shards"
    done = subprocess.run(
        [sys.executable, "-c", script, str(photos), str(target)], capture_output=True, text=True, check=False
    )

    assert done.stderr.startswith(f"cannot write the shards to {target}: File too large; finished shards are kept")
    assert list(target.glob("*.tar")) + list(target.glob(".*")) == []
    assert prepare(photos, to=target).counts == {"train": 12, "val": 6, "test": 6}


def test_pixels_are_untouched(tmp_path: Path, photos: Path) -> None:
    prepare(photos, to=tmp_path / "shards")

    sample = shards_in(tmp_path / "shards").samples("train")[0]
    assert np.array_equal(decode_image(sample.image), decode_image(photos / "train" / "cat" / "0.png"))
