from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from classifier_training.data.index.check import Facts
from classifier_training.data.index.table import Index, write_index
from classifier_training.data.sources.listing import Listing, RowWriter
from classifier_training.data.splits import make as make_module
from classifier_training.data.splits.make import Splits, make_splits


def make_index(path: Path, groups: list[str | None] | None = None, count: int = 60) -> Index:
    writer = RowWriter()
    names = [f"{number}.jpg" for number in range(count)]
    writer.add("/p", names, ["cat", "dog"] * (count // 2), groups=groups)
    facts = Facts.empty(count)
    facts.digests[:] = np.random.default_rng(0).integers(0, 256, (count, 16))
    facts.widths[:] = facts.heights[:] = 10
    write_index(path, Listing("", writer.table()), facts, made_at_ns=1)
    return Index(path)


def halves(index: Index, seed: int = 0) -> Splits:
    return make_splits(index, "/p", val_fraction=0.3, test_fraction=0.2, seed=seed)


def test_a_group_stays_together(tmp_path: Path) -> None:
    groups: list[str | None] = [f"patient {number // 6}" for number in range(60)]
    found = halves(make_index(tmp_path / "i.arrow", groups)).rows

    split_of_row = {int(row): split for split, rows in found.items() for row in rows}
    of_group = {group: {split_of_row[row] for row in range(60) if groups[row] == group} for group in groups}
    assert all(len(splits) == 1 for splits in of_group.values())
    assert len(set.union(*of_group.values())) > 1


def test_an_image_without_a_group_goes_by_its_content(tmp_path: Path) -> None:
    alone = halves(make_index(tmp_path / "i.arrow"))
    mixed = halves(make_index(tmp_path / "g.arrow", ["one"] + [None] * 59))

    def split_of(division: Splits) -> dict[int, str]:
        return {int(row): split for split, rows in division.rows.items() for row in rows}

    moved = {row for row, split in split_of(mixed).items() if split_of(alone)[row] != split}
    assert moved <= {0}


def test_the_division_of_a_large_index_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index = make_index(tmp_path / "i.arrow")
    fresh = halves(index)
    assert not list(tmp_path.glob("*.npz"))
    monkeypatch.setattr(make_module, "MIN_ROWS_STORED", 10)

    halves(index)
    (kept,) = tmp_path.glob("*.npz")
    monkeypatch.setattr(make_module, "split_positions", None)  # nothing is computed again
    again = halves(index)

    assert {split: rows.tolist() for split, rows in again.rows.items()} == {
        split: rows.tolist() for split, rows in fresh.rows.items()
    }
    assert (again.classes, again.notes, again.fingerprint) == (fresh.classes, fresh.notes, fresh.fingerprint)
    monkeypatch.undo()
    monkeypatch.setattr(make_module, "MIN_ROWS_STORED", 10)
    kept.write_bytes(b"spoilt")
    assert halves(index).fingerprint == fresh.fingerprint
    assert halves(index, seed=1).fingerprint != fresh.fingerprint
    assert len(list(tmp_path.glob("*.npz"))) == 2
