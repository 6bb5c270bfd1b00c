"""What is in a run folder, from the table of `run.folder`: as a tree of text, and the meaning of each file."""

from __future__ import annotations

from fnmatch import fnmatchcase

from classifier_training.run.folder import Entry, RunFolder, ScoredFolder
from classifier_training.types import SPLITS

_SCORED = "{val,test}/"


def entries_of(folder: type) -> list[Entry]:
    """The rows of the table of `RunFolder`, `ScoredFolder` or `ExportFolder`, in its order."""
    return [value for value in vars(folder).values() if isinstance(value, Entry)]


def describe_file(name: str) -> tuple[str, str]:
    """The line that a list of files has for a file, given as its path in the run folder with ``/``, and its meaning.

    Returns:
        The name of the file and its meaning, which is that of its folder if the table does not have the file; the
        name of the folder instead, if the table has none of its files. A file in no folder of the table has no meaning.
    """
    split, _, rest = name.partition("/")
    prefix, path = (f"{split}/", f"{_SCORED}{rest}") if split in SPLITS else ("", name)
    entries = _run_entries()
    for entry in entries:
        if fnmatchcase(path, entry.path):
            return name, entry.meaning
    around = [entry for entry in entries if entry.path.endswith("/") and path.startswith(entry.path)]
    folder = max(around, key=lambda entry: len(entry.path), default=None)
    if folder is None:
        return name, ""
    is_one_line = not any(entry.path.startswith(folder.path) for entry in entries if entry is not folder)
    return (f"{prefix}{folder.path.removeprefix(_SCORED)}" if is_one_line else name), folder.meaning


def render_tree() -> str:
    """The run folder as a tree with the meaning of every entry, for the documentation."""
    entries = _run_entries()
    top = [entry for entry in entries if "/" not in entry.path.rstrip("/")]
    rows: list[tuple[str, str]] = []
    for entry in top:
        branch, stem = ("└── ", "    ") if entry is top[-1] else ("├── ", "│   ")
        rows.append((f"{branch}{entry.path}", entry.meaning))
        inside = [other for other in entries if entry.path.endswith("/") and other.path.startswith(entry.path)][1:]
        for other in inside:
            twig = "└── " if other is inside[-1] else "├── "
            rows.append((f"{stem}{twig}{other.path.removeprefix(entry.path)}", other.meaning))
    width = max(len(name) for name, _ in rows)
    return "\n".join(["runs/<date>-<time>-<model>/", *(f"{name:<{width}}  {meaning}" for name, meaning in rows)])


def _run_entries() -> list[Entry]:
    """Every row of a run, the folder before its files; those of a split once, in ``{val,test}/``."""
    entries = entries_of(RunFolder)
    before = entries.index(RunFolder.evaluations)
    scored = [Entry(_SCORED, "scores and predictions: val of the latest epoch, test of best.ckpt")]
    scored += [entry.inside(_SCORED) for entry in entries_of(ScoredFolder)]
    return [*entries[:before], *scored, *entries[before:]]
