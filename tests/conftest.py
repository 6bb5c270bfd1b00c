from __future__ import annotations

import os
import tempfile

from classifier_training.data.cache.folder import CACHE_VARIABLE

# Keeps the user's cache folder out of the tests, and the tests out of it: before any module copies the environment.
os.environ["HF_HUB_OFFLINE"] = "1"  # no test asks the hub of pretrained weights, but those that serve one
_cache = tempfile.TemporaryDirectory(prefix="classifier-training-tests-")
os.environ[CACHE_VARIABLE] = _cache.name
