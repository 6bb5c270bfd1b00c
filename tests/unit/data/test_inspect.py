from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.helpers.photos import make_photo

from classifier_training.data.inspect import bad_images, count_up, inspect_files, name_some
from classifier_training.errors import DataError


def broken(path: Path, content: bytes = b"no picture") -> Path:
    path.write_bytes(content)
    return path


def test_digests_are_those_of_the_content(tmp_path: Path) -> None:
    paths = [make_photo(tmp_path / f"{number}.png", seed) for number, seed in enumerate([1, 2, 1])]

    facts = inspect_files(map(str, paths))

    assert list(facts) == [str(path) for path in paths]
    for path in paths:
        assert facts[str(path)].digest == hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
        assert facts[str(path)].error is None
    assert facts[str(paths[0])] == facts[str(paths[2])]
    assert facts[str(paths[0])] != facts[str(paths[1])]


def test_progress_counts_every_distinct_file(tmp_path: Path) -> None:
    paths = [str(make_photo(tmp_path / f"{number}.png", number)) for number in range(3)]
    told: list[tuple[int, int]] = []

    inspect_files([*paths, *paths], lambda done, total: told.append((done, total)))

    assert told == [(1, 3), (2, 3), (3, 3)]


def test_no_files() -> None:
    assert inspect_files([]) == {}


@pytest.mark.parametrize("name", ["missing.png", "nul\0.png", ".", "text.png", "empty.png", "cut.png"])
def test_what_is_no_picture_is_named(tmp_path: Path, name: str) -> None:
    broken(tmp_path / "text.png")
    broken(tmp_path / "empty.png", b"")
    whole = make_photo(tmp_path / "whole.png", 0).read_bytes()
    broken(tmp_path / "cut.png", whole[: len(whole) // 2])
    path = f"{tmp_path}/{name}"

    facts = inspect_files([path])

    assert facts[path].digest == ""
    assert path in (facts[path].error or "")
    assert bad_images(facts, "skip")[0].path == path
    with pytest.raises(DataError) as caught:
        bad_images(facts, "raise")
    assert path in str(caught.value)
    assert "data.on_bad_image=skip" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_many_broken_files_are_counted_and_some_named(tmp_path: Path) -> None:
    paths = [str(broken(tmp_path / f"{number}.png")) for number in range(7)]
    facts = inspect_files([*paths, str(make_photo(tmp_path / "good.png", 0))])

    with pytest.raises(DataError, match=r"^7 file\(s\) .*0\.png.*2\.png.* and 4 more; ") as caught:
        bad_images(facts, "raise")

    assert "3.png" not in str(caught.value)
    assert [image.path for image in bad_images(facts, "skip")] == paths


def test_good_files_raise_nothing(tmp_path: Path) -> None:
    assert bad_images(inspect_files([str(make_photo(tmp_path / "a.png", 0))]), "raise") == ()


def test_naming_some() -> None:
    assert name_some([]) == ""
    assert name_some("abc") == "a, b, c"
    assert name_some("abcde") == "a, b, c and 2 more"


def test_counting_up() -> None:
    told: list[tuple[int, int]] = []
    advance = count_up(lambda done, total: told.append((done, total)), 5)

    assert advance is not None
    advance(2)
    advance(3)
    assert told == [(2, 5), (5, 5)]
    assert count_up(None, 5) is None
