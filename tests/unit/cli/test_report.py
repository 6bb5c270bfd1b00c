from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.run_folders import RunMaker

from classifier_training.cli.main import main

SMALL = RunMaker(2, num_images=4, num_pictures=0)


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one", "other"):
        SMALL.make(Path("runs") / name)


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (["report"], "runs/other/report.html"),
        (["report", "runs/one"], "runs/one/report.html"),
        (["report", "runs/one", "-o", "page.html"], "page.html"),
        (["compare", "runs/one", "runs/other"], "compare.html"),
        (["compare", "runs/one", "runs/other", "--output", "new/page.htm"], "new/page.htm"),
    ],
)
def test_they_say_where_they_wrote(capsys: pytest.CaptureFixture[str], words: list[str], written: str) -> None:
    main(words)

    *messages, last = capsys.readouterr().out.splitlines()
    assert last == f"written: {Path(written)}"
    assert ["do not differ significantly" in message for message in messages] == [True] * (words[0] == "compare")
    assert Path(written).is_file()


def test_a_mistake_is_said_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["compare", "runs/one"])

    assert ended.value.code == 2
    assert capsys.readouterr().err == ("error: a comparison needs two runs or more, got 1; name more run folders\n")
