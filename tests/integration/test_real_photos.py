"""Real photos, where they are at hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.helpers.cli import TINY, WarmProgram

CLOTHING = Path(__file__).parents[3] / "shared" / "data" / "clothing"


@pytest.mark.skipif(not CLOTHING.is_dir(), reason=f"the clothing photos are not at {CLOTHING}")
def test_a_dry_run_on_real_photos(program: WarmProgram, tmp_path: Path) -> None:
    finished = program("train", CLOTHING, *TINY, "data.image_size=64", "--dry-run", folder=tmp_path)

    assert finished.code == 0, finished
    assert "10 classes" in finished.out
    assert list(tmp_path.iterdir()) == []
