from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.helpers.scored import NASTY_NAMES

from classifier_training.errors import RunError
from classifier_training.evaluation.folder import check_folder, make_free_folder, replaced_folder


def make_evaluation(folder: Path) -> Path:
    for name in ("scores.json", "predictions.csv", "confusion_matrix.png", "report.html", "pictures/0.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("earlier")
    return folder


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.yaml").touch()
    return folder


class TestAFolderThatIsReplaced:
    def test_a_new_one(self, tmp_path: Path) -> None:
        place = tmp_path / "a" / "b"
        check_folder(place)

        with replaced_folder(place) as made:
            (made / "scores.json").write_text("new")

        assert (place / "scores.json").read_text() == "new"
        assert [path.name for path in place.parent.iterdir()] == ["b"]

    @pytest.mark.parametrize("is_empty", [True, False])
    def test_an_empty_one_and_an_earlier_evaluation_as_a_whole(self, tmp_path: Path, *, is_empty: bool) -> None:
        place = tmp_path / "there"
        place.mkdir()
        if not is_empty:
            make_evaluation(place)
        check_folder(place)

        with replaced_folder(place) as made:
            (made / "scores.json").write_text("new")

        assert [path.name for path in place.iterdir()] == ["scores.json"]
        assert list(tmp_path.iterdir()) == [place]

    def test_what_goes_wrong_leaves_it_as_it_was(self, tmp_path: Path) -> None:
        place = make_evaluation(tmp_path / "there")
        names = sorted(path.name for path in place.rglob("*"))

        with pytest.raises(IsADirectoryError), replaced_folder(place) as made:
            made.write_text("the disk is full")

        assert sorted(path.name for path in place.rglob("*")) == names
        assert (place / "scores.json").read_text() == "earlier"
        assert list(tmp_path.iterdir()) == [place]

    def test_through_a_link(self, tmp_path: Path) -> None:
        place = make_evaluation(tmp_path / "there")
        (tmp_path / "link").symlink_to(place)

        with replaced_folder(tmp_path / "link") as made:
            (made / "scores.json").write_text("new")

        assert (tmp_path / "link").is_symlink()
        assert (place / "scores.json").read_text() == "new"

    def test_somebodys_file_that_came_in_the_meantime_stays(self, tmp_path: Path) -> None:
        place = make_evaluation(tmp_path / "there")

        with pytest.raises(RunError, match=r"holds 'thesis\.tex'"), replaced_folder(place):
            (place / "thesis.tex").touch()

        assert (place / "thesis.tex").is_file()
        assert (place / "scores.json").read_text() == "earlier"


class TestRefused:
    def test_a_folder_of_something_else(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()
        with pytest.raises(RunError, match=r"not empty and not the folder of an evaluation \(it holds 'thesis\.tex'\)"):
            check_folder(tmp_path)

    def test_an_evaluation_with_somebodys_file(self, tmp_path: Path) -> None:
        make_evaluation(tmp_path)
        check_folder(tmp_path)
        (tmp_path / "notes.txt").touch()
        with pytest.raises(RunError, match=r"it holds 'notes\.txt'\), so it is not replaced; name another one"):
            check_folder(tmp_path)

    def test_part_of_an_evaluation(self, tmp_path: Path) -> None:
        (tmp_path / "predictions.csv").touch()
        with pytest.raises(RunError, match=r"it has no scores\.json"):
            check_folder(tmp_path)

    @pytest.mark.parametrize("name", ["", "test", "val"])
    def test_a_run_and_its_own_scores(self, tmp_path: Path, name: str) -> None:
        run = make_run(tmp_path / "run")
        if name:
            make_evaluation(run / name)
        with pytest.raises(RunError, match="belongs to a run; name another folder"):
            check_folder(run / name)

    def test_not_the_evaluations_of_a_run(self, tmp_path: Path) -> None:
        check_folder(make_run(tmp_path / "run") / "evaluations" / "test")

    def test_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(RunError, match="is a file; name a folder for the evaluation"):
            check_folder(tmp_path / "file")
        with pytest.raises(RunError, match=r"cannot create a folder in .*file: it is a file; name another one"):
            check_folder(tmp_path / "file" / "below" / "it")

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
    def test_a_place_that_may_not_be_written(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(RunError, match="it is not writable; name another one"):
            check_folder(tmp_path / "below" / "it")

    def test_looking_leaves_nothing_behind(self, tmp_path: Path) -> None:
        check_folder(tmp_path / "a" / "b")
        assert list(tmp_path.iterdir()) == []


class TestAFreeFolder:
    def test_numbers_follow(self, tmp_path: Path) -> None:
        made = [make_free_folder(tmp_path / "evaluations", "test") for _ in range(3)]

        assert [path.name for path in made] == ["test", "test-2", "test-3"]
        assert sorted((tmp_path / "evaluations").iterdir()) == made

    @pytest.mark.parametrize("name", [*NASTY_NAMES, "..", ".hidden", "a/b\\c", "nul\0l"])
    def test_any_text_becomes_a_plain_name(self, tmp_path: Path, name: str) -> None:
        made = make_free_folder(tmp_path, name)

        assert made.parent == tmp_path
        assert made.is_dir()
        assert not made.name.startswith(".")
        assert not set(made.name) & set('<>:"/\\|?*\n\r\0')
