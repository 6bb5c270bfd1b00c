"""A run's own split is scored on the images that the run recorded, or not at all."""

from __future__ import annotations

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from tests.helpers.photos import make_photo, make_photos, make_split_photos
from tests.helpers.shards import photo_bytes, write_tar
from tests.unit.evaluation.test_photos import CLASSES, make_run

from classifier_training.data.splits.file import read_split
from classifier_training.errors import DataError
from classifier_training.evaluation.photos import ImageSelector
from classifier_training.types import SPLITS


@pytest.mark.parametrize("split", SPLITS)
def test_overwritten_photos_are_refused_with_the_first_name_and_the_count(tmp_path: Path, split: str) -> None:
    photos = make_split_photos(tmp_path / "photos")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    for name in ("1.png", "2.png"):
        make_photo(photos / split / "cat" / name, seed=77)

    with pytest.raises(DataError) as caught:
        ImageSelector(run, None, config, split)(CLASSES)  # type: ignore[arg-type]  # one of SPLITS

    total = 12 if split == "train" else 6
    assert str(caught.value) == (
        f"the {split} split of {run.root}: 2 of {total} images have another content than when the run began:"
        f" {photos}/{split}/cat/1.png, {photos}/{split}/cat/2.png; restore them, or score the photos as they are"
        " now with --current"
    )
    assert ImageSelector(run, None, config, None, current=True)(CLASSES).description == f"the test split of {photos}"


def test_a_shard_that_was_packed_again_with_equal_sizes_is_refused(tmp_path: Path) -> None:
    contents = [photo_bytes(number, kind="BMP") for number in range(4)]
    for split in SPLITS:
        pack(tmp_path / "shards" / f"{split}-000000.tar", contents)
    run, config = make_run(tmp_path / "run", tmp_path / "shards", tmp_path / "cache")
    pack(tmp_path / "shards" / "test-000000.tar", contents[::-1])

    with pytest.raises(DataError, match=r"4 of 4 images have another content .*test-000000\.tar::0\.bmp, "):
        ImageSelector(run, None, config, None)(CLASSES)


def pack(path: Path, contents: list[bytes]) -> None:
    """A shard whose layout does not depend on the contents."""
    members: list[tuple[str | tarfile.TarInfo, bytes]] = []
    for number, content in enumerate(contents):
        members += [(f"{number}.bmp", content), (f"{number}.cls", CLASSES[number % 2].encode())]
    write_tar(path, members)


def test_a_photo_that_changes_while_it_is_scored_is_refused(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    images = ImageSelector(run, None, config, None)(CLASSES)
    make_photo(photos / "test" / "cat" / "0.png", seed=9, size=(30, 30))

    records = images.records or ()
    with pytest.raises(OSError, match="changed since it was checked"):
        records[0].read()


@pytest.mark.parametrize("has_splits", [True, False])
def test_what_was_added_since_is_named_with_the_way_to_score_it(tmp_path: Path, *, has_splits: bool) -> None:
    root = tmp_path / "photos"
    photos = make_split_photos(root) if has_splits else make_photos(root, {"cat": 20, "dog": 20})
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    before = ImageSelector(run, None, config, None)(CLASSES)
    new = make_photo(photos / ("test/cat/new.png" if has_splits else "cat/new.png"), seed=900)

    with pytest.warns(UserWarning, match=rf"holds 1 image\(s\) .* not scored: {new}; --current scores all") as caught:
        after = ImageSelector(run, photos, config, None)(CLASSES)

    assert len(caught) == 1
    assert after.files == before.files
    assert str(new) in ImageSelector(run, photos, config, None, current=True)(CLASSES).files


def test_what_was_left_out_was_not_added(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    photos = make_split_photos(tmp_path / "photos")
    (photos / "test" / "cat" / "bad.png").write_bytes(b"no image")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache", "  on_bad_image: skip\n")

    ImageSelector(run, None, config, None)(CLASSES)

    assert not recwarn.list


def test_photos_that_are_gone_are_unreadable(tmp_path: Path) -> None:
    photos = make_split_photos(tmp_path / "photos")
    run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
    shutil.rmtree(photos / "test")

    with pytest.raises(DataError, match=r"6 file\(s\) are not readable images"):
        ImageSelector(run, None, config, None)(CLASSES)


class TestMoved:
    """The photos of a run lie in another folder, which was named with ``data.root``."""

    @pytest.fixture(params=["splits", "classes"])
    def moved(self, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., ImageSelector]:
        """A run whose photos have moved from ``photos`` to ``new``."""
        root = tmp_path / "photos"
        photos = make_split_photos(root) if request.param == "splits" else make_photos(root, {"cat": 20, "dog": 20})
        run, config = make_run(tmp_path / "run", photos, tmp_path / "cache")
        photos.rename(tmp_path / "new")
        return partial(ImageSelector, run, tmp_path / "new", config, None, have_moved=True)

    def test_its_test_images_are_scored_in_their_order(self, moved: Callable[..., ImageSelector]) -> None:
        selector = moved()
        assert selector.run is not None
        recorded = read_split(selector.run.split, "test")

        found = selector(CLASSES)

        assert found.split == "test"
        assert found.files == [sample.path.replace("/photos/", "/new/") for sample in recorded]
        assert [bytes.fromhex(digest) for digest in found.digests] == [row.tobytes() for row in recorded.digests]
        assert found.description == f"the test split of {selector.run.root}, found in {selector.photos}"

    def test_only_their_content_counts(self, moved: Callable[..., ImageSelector]) -> None:
        before = moved()(CLASSES)
        for number, file in enumerate(before.files):
            Path(file).rename(Path(file).with_name(f"z{number}.png"))
        make_photo(Path(before.files[0]), seed=901)

        after = moved()(CLASSES)

        assert after.digests == before.digests
        assert [Path(file).name for file in after.files] == [f"z{number}.png" for number in range(len(after.files))]

    def test_what_was_added_is_named(self, moved: Callable[..., ImageSelector]) -> None:
        before = moved()(CLASSES).files
        new = make_photo(Path(before[0]).with_name("new.png"), seed=901)

        with pytest.warns(UserWarning, match=rf"holds 1 image\(s\) .* not scored: {new}; --current scores all"):
            assert moved()(CLASSES).files == before

    def test_a_part_of_them_is_refused_with_the_words_to_type(self, moved: Callable[..., ImageSelector]) -> None:
        selector = moved()
        files = selector(CLASSES).files
        make_photo(Path(files[1]), seed=901)
        assert selector.run is not None

        with pytest.raises(DataError) as caught:
            selector(CLASSES)

        assert str(caught.value) == (
            f"{selector.photos} holds {len(files) - 1} of the {len(files)} test images of {selector.run.root}, by"
            f" content and label; missing: {files[1].replace('/new/', '/photos/')}; restore them, or score all labelled"
            f" photos: classifier-training evaluate {selector.run.root} {selector.photos}"
        )

    def test_other_photos_are_scored_as_such(self, moved: Callable[..., ImageSelector], tmp_path: Path) -> None:
        others = replace(moved(), photos=make_photos(tmp_path / "others", {"cat": 2, "dog": 1}, first_seed=901))

        with pytest.warns(UserWarning, match=r"others holds none of the test images of .*: other photos are scored$"):
            found = others(CLASSES)

        assert (len(found.files), found.split) == (3, None)

    def test_without_the_new_place_it_is_asked_for(self, moved: Callable[..., ImageSelector]) -> None:
        selector = moved()
        assert selector.run is not None

        with pytest.raises(DataError) as caught:
            replace(selector, photos=None, have_moved=False)(CLASSES)

        run, before = selector.run.root, str(selector.photos).replace("/new", "/photos")
        assert str(caught.value) == (
            f"the photos of {run} are not in {before} any more; if they have moved, say where to:"
            f" classifier-training evaluate {run} data.root=FOLDER"
        )
