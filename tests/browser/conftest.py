from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from tests.helpers.browser import find_chromium, launch
from tests.helpers.run_folders import HOSTILE_FILES, HOSTILE_NAMES, RunMaker

from classifier_training.pages.write import compare, report


@pytest.fixture(scope="module")  # as long as it runs, the thread has an event loop and can run no other
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        executable = find_chromium(playwright)
        if executable is None:
            pytest.skip("no Chromium on the PATH (chromium, chromium-browser, google-chrome), and none of playwright's")
        started = launch(playwright, executable)
        yield started
        started.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One page of each kind; tests read them and must not change them."""
    folder = tmp_path_factory.mktemp("pages")
    makers = {
        "run": RunMaker(4, num_pictures=24),
        "other": RunMaker(4, num_epochs=5, skill=3, seed=1, settings={"model.name": "resnet50"}),
        "hostile": RunMaker(HOSTILE_NAMES, files=HOSTILE_FILES, num_pictures=30),
        "training": RunMaker(3, num_epochs=1, is_finished=False, absent=[1]),
        "two": RunMaker(2, num_images=1, has_test=False),
        "thousand": RunMaker(1000, num_images=5000, num_pictures=0),
    }
    runs = {name: maker.make(folder / name).root for name, maker in makers.items()}
    found = {name: report(root) for name, root in runs.items()}
    found["evaluation"] = report(RunMaker().make_evaluation(folder / "evaluation").root)
    found["comparison"] = compare([runs[name] for name in ("run", "other")], output=folder / "comparison.html")
    odd = ("hostile", "training", "two", "other")
    found["odd comparison"] = compare([runs[name] for name in odd], output=folder / "odd.html")
    return found
