from __future__ import annotations

from collections.abc import Iterator

import pytest

from classifier_training.data.cache_folder import CACHE_VARIABLE


@pytest.fixture(autouse=True, scope="session")
def cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the user's cache folder out of the tests, and the tests out of it; processes inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield
