"""The commands ``cache show`` and ``cache clear``."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import typer

from classifier_training.errors import ConfigError

if TYPE_CHECKING:
    from classifier_training.data.cache.upkeep import CacheEntry

CacheDir = Annotated[
    str | None,
    typer.Option("--cache-dir", help="Cache folder; default: as data.cache_dir when it is not set.", metavar="FOLDER"),
]
OlderThan = Annotated[
    str | None, typer.Option("--older-than", help="Remove what was last used before, such as 30d.", metavar="AGE")
]
All = Annotated[bool, typer.Option("--all", help="Remove everything that no running process uses.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print a JSON list, an object for each entry.")]
_SECONDS: Final = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}


def cache_show(cache_dir: CacheDir = None, as_json: AsJson = False) -> None:
    """List what the cache folder holds: sizes, last use, and of which photos.

    Examples:
      classifier-training cache show
      classifier-training cache show --json
    """
    from classifier_training.data.cache.folder import cache_folder
    from classifier_training.data.cache.upkeep import KINDS, cache_entries, photos_of
    from classifier_training.files.text import show_bytes
    from classifier_training.terminal.terminal import Terminal

    cache = cache_folder(cache_dir)
    entries, photos = cache_entries(cache), photos_of(cache)
    if as_json:
        sys.stdout.write(json.dumps([_described(entry, photos.get(entry.path)) for entry in entries]) + "\n")
        return
    terminal = Terminal()
    groups: dict[tuple[str, str], list[CacheEntry]] = {}
    for entry in entries:
        groups.setdefault((KINDS[entry.kind], photos.get(entry.path, "unknown")), []).append(entry)
    rows = [
        [kind, name, show_bytes(sum(entry.num_bytes for entry in some)), *_last_use(some)]
        for (kind, name), some in sorted(groups.items())
    ]
    if rows:
        terminal.table(f"{cache}", ["what", "of photos", "size", "last used", "in use"], rows, others="left")
    total = show_bytes(sum(entry.num_bytes for entry in entries))
    terminal.result(f"{total} in {cache}; remove what is old with: classifier-training cache clear --older-than 30d")


def cache_clear(older_than: OlderThan = None, everything: All = False, cache_dir: CacheDir = None) -> None:
    """Remove what is old from the cache folder, but for what a running process uses; it can be made again.

    Examples:
      classifier-training cache clear --older-than 30d
      classifier-training cache clear --all
    """
    if (older_than is None) != everything:
        raise ConfigError("say what to remove: classifier-training cache clear --older-than 30d, or cache clear --all")
    before = time.time() - (0 if older_than is None else _seconds(older_than))
    from classifier_training.data.cache.folder import cache_folder
    from classifier_training.data.cache.upkeep import cache_entries, remove_entries
    from classifier_training.files.text import show_bytes
    from classifier_training.terminal.terminal import Terminal

    cache = cache_folder(cache_dir)
    chosen = [entry for entry in cache_entries(cache) if entry.used_at <= before]
    removed = remove_entries(cache, chosen)
    freed = show_bytes(sum(entry.num_bytes for entry in removed))
    kept = len(chosen) - len(removed)
    in_use = f"; {kept} more in use, or not to be removed" if kept else ""
    Terminal().result(f"freed {freed} in {cache}: {len(removed)} of {len(chosen)} entries{in_use}")


def _described(entry: CacheEntry, photos: str | None) -> dict[str, object]:
    used_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(entry.used_at))
    return {
        "kind": entry.kind,
        "path": str(entry.path),
        "photos": photos,
        "num_bytes": entry.num_bytes,
        "last_used": used_at,
        "in_use": entry.is_used,
    }


def _last_use(entries: list[CacheEntry]) -> tuple[str, str]:
    used_at = max(entry.used_at for entry in entries)
    is_used = any(entry.is_used for entry in entries)
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(used_at)), "yes" if is_used else "no"


def _seconds(age: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhdw])", age.strip())
    if found is None:
        raise ConfigError(f"--older-than {age} is not an age; allowed are numbers with m, h, d or w, such as 30d")
    return float(found[1]) * _SECONDS[found[2]]
