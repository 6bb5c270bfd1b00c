"""The table of sections and the files that a section consists of agree."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tests.helpers.page_data import make_run
from tests.unit.pages.sections.test_probe import PROBE
from tests.unit.pages.sections.test_recipe import PLAN
from tests.unit.pages.sections.test_teacher import ENVIRONMENT
from tests.unit.pages.sections.test_time import SPENT

from classifier_training import pages
from classifier_training.pages.sections import SECTIONS, sections_of
from classifier_training.results.folds_file import FoldRow, FoldsFile
from classifier_training.results.unknown_file import UnknownRecord
from classifier_training.run.lr_range import RangeTest
from classifier_training.run.verification import Verification

FOLDER = Path(pages.__file__).parent


def test_every_file_is_in_the_table() -> None:
    files = {path.stem for path in (FOLDER / "sections").glob("[!_]*.py")}
    assert files - set(SECTIONS) == set(), "add the name of the file to SECTIONS in pages/sections/__init__.py"
    assert set(SECTIONS) - files == set(), "SECTIONS in pages/sections/__init__.py names a file that does not exist"
    assert len(set(SECTIONS)) == len(SECTIONS), "SECTIONS in pages/sections/__init__.py names a file twice"


def test_every_file_has_its_function() -> None:
    for name in SECTIONS:
        module = import_module(f"classifier_training.pages.sections.{name}")
        assert hasattr(module, f"{name}_section"), f"pages/sections/{name}.py needs the function {name}_section"


def test_every_section_has_its_template() -> None:
    fold = FoldRow(fold=1, num_images=1, top1=1.0, balanced_accuracy=1.0, macro_f1=1.0, best_epoch=0, seconds=1.0)
    folds = FoldsFile(folds=(fold, fold), means={"top1": 1.0}, intervals={"top1": (1.0, 1.0)}, confidence_level=0.95)
    run = make_run(
        folds=folds,
        lr_range=RangeTest((), (), ()),
        probe=PROBE,
        time=SPENT,
        plan=PLAN,
        environment=ENVIRONMENT,
        exports={"fp16": Verification(passed=True)},
        unknown=UnknownRecord(kind="energy"),
    )
    keys = {section.key for section in sections_of(run)}
    templates = {path.name.removesuffix(".html.j2") for path in (FOLDER / "templates" / "sections").iterdir()}
    assert keys - templates == set(), "a section needs pages/templates/sections/KEY.html.j2"
    assert templates - keys == set(), "no section has the key of this template"
    assert len(keys) == len(SECTIONS), "two sections have the same key"


def test_an_evaluation_has_no_sections_of_the_training() -> None:
    shown = [section.key for section in sections_of(make_run(status="evaluation"))]
    assert "curves" not in shown
    assert "photos" not in shown
    assert "confusion" in shown
