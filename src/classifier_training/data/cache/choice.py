"""Decides where the decoded images of a run are kept, opens that cache, and describes the decision."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from classifier_training.data.cache.image_cache import ImageCache
from classifier_training.data.cache.locations import (
    SHARED_MEMORY,
    CacheLocation,
    disk_location,
    memory_location,
    remove_abandoned,
    temporary_location,
)
from classifier_training.data.cache.slots import ImageList
from classifier_training.data.cache.store import (
    cache_problem,
    grow_cache,
    make_cache,
    room_of,
    table_bytes,
    touch_cache,
)
from classifier_training.data.cache.users import CacheUse, is_used
from classifier_training.files.text import show_bytes

CacheSetting = Literal["auto", "none", "memory", "disk"]


@dataclass(frozen=True, slots=True)
class CacheChoice:
    """What was decided; to be closed when the run ends. The end of the process closes it, too.

    Attributes:
        kind: Where images are kept.
        message: The decision, human-readable.
        cache: The cache, for the datasets; None: images are decoded every time.
        warnings: What the user should not miss, such as a cache that was damaged.
        use: Keeps the cache from being removed.
    """

    kind: Literal["none", "memory", "disk"]
    message: str
    cache: ImageCache | None = None
    warnings: tuple[str, ...] = ()
    use: CacheUse | None = None

    def close(self) -> None:
        """Ends the use of the cache; one in memory is removed when no other run uses it."""
        if self.cache is not None:
            self.cache.close()
        if self.use is not None:
            self.use.end()


def choose_cache(
    images: ImageList,
    root: Path,
    setting: CacheSetting = "auto",
    limit: int | None = None,
    *,
    shared_memory: Path = SHARED_MEMORY,
) -> CacheChoice:
    """Decides where images are kept and opens the cache; one that does not exist is made, empty.

    ``auto`` takes the disk if all images fit into what caches may take there, else memory if they fit there, else
    nothing. ``disk`` and ``memory`` keep as many as fit, from the first on. What is kept never changes a training.

    Args:
        images: What is to be kept.
        root: The cache folder.
        setting: ``data.cache``.
        limit: ``data.cache_limit``, bytes; None: a share of what is free, see `budget`.
        shared_memory: The file system in memory.

    Returns:
        The decision with the open cache. A full, read-only or damaged location is not an error; the message names it.
    """
    choice = _choose(images, root, setting, limit, shared_memory)
    remove_abandoned(shared_memory)
    return choice


def _choose(
    images: ImageList, root: Path, setting: CacheSetting, limit: int | None, shared_memory: Path
) -> CacheChoice:
    name = f"image cache ({images.form.role})"
    if setting == "none" or images.num_bytes == 0:
        reason = "data.cache=none" if setting == "none" else "no image to keep"
        return CacheChoice("none", f"{name}: none, {reason}")
    disk = disk_location(root, limit, is_chosen=setting == "disk")
    memory = memory_location(limit, shared_memory)
    locations = {
        "auto": [disk] if memory is None else [disk, memory],
        "disk": [disk],
        "memory": [memory or temporary_location(limit)],
    }
    refusals: list[str] = []
    for location in locations[setting]:
        outcome = _Opening(name, location, images, partly=setting != "auto").open()
        if isinstance(outcome, CacheChoice):
            return outcome
        refusals.append(outcome)
    return CacheChoice("none", f"{name}: none; " + "; ".join(refusals))


class _Opening:
    """Opens the cache of some images at one location, or explains why not."""

    def __init__(self, name: str, location: CacheLocation, images: ImageList, *, partly: bool) -> None:
        self.name = name
        self.location = location
        self.store = location.store
        self.images = images
        self.partly = partly
        self.folder = location.store.folder / images.key

    def open(self) -> CacheChoice | str:
        """The open cache, or the reason why there is none."""
        try:
            with self.location.locked():
                return self._open_locked()
        except OSError as error:
            return self._open_read_only(error.strerror or str(error))

    def _open_locked(self) -> CacheChoice | str:
        self.store.clean()
        warnings = self._remove_if_broken()
        tables = table_bytes(self.folder, len(self.images))
        budget = self.location.budget(self.store.num_bytes_now())
        allowed = budget.num_bytes - self.store.num_bytes_in_use(but=self.folder)
        count, room = self.images.fitting(allowed - tables)
        needed = show_bytes(self.images.num_bytes + tables)
        terms = f"{needed} needed, {show_bytes(allowed)} allowed ({budget.reason})"
        if count == 0 or (count < len(self.images) and not self.partly):
            if self.location.limit is not None:
                self.store.remove_unused(self.location.limit)
            return f"{self.location.kind}: {terms}"
        notes = [self.location.note] if self.location.note else []
        if count < len(self.images):
            notes.append(f"the first {count} of {len(self.images)} images: {terms}")
        if removed := self._make_room(room, budget.num_bytes - room - tables):
            notes.append(f"{removed} older cache(s) removed")
        self._make_or_grow(room)
        use = CacheUse.register(self.folder, len(self.images), self._cleanup())
        return self._choice(ImageCache(self.folder, use.marks), use, notes, warnings)

    def _remove_if_broken(self) -> list[str]:
        problem = cache_problem(self.folder, self.images) if self.folder.exists() else None
        if problem is None:
            return []
        if not self.store.remove(self.folder):
            raise OSError(f"{problem}, and it cannot be removed")
        return [f"{self.name} in {self.folder} is rebuilt: {problem}"]

    def _make_room(self, room: int, left_for_others: int) -> int:
        """Removes unused caches that there is no room for, and returns their number."""
        is_too_large = self.folder.exists() and room < room_of(self.folder)
        removed = is_too_large and not is_used(self.folder) and self.store.remove(self.folder)
        return removed + len(self.store.remove_unused(left_for_others, but=self.folder))

    def _make_or_grow(self, room: int) -> None:
        if self.folder.exists():
            grow_cache(self.folder, room)
        else:
            latest_first = [cache.folder for cache in reversed(self.store.stored())]
            make_cache(self.folder, self.images, room, latest_first)
        touch_cache(self.folder)

    def _cleanup(self) -> Callable[[], None] | None:
        if not self.location.is_temporary:
            return None
        location, folder = self.location, self.folder  # not self, which would keep the images' columns in memory

        def remove_if_unused() -> None:
            with contextlib.suppress(OSError), location.locked():
                if not is_used(folder):
                    location.store.remove(folder)

        return remove_if_unused

    def _open_read_only(self, reason: str) -> CacheChoice | str:
        """Opens what others have stored, where nothing can be written."""
        try:
            if self.folder.exists() and cache_problem(self.folder, self.images) is None:
                use = CacheUse.read_only(len(self.images))
                cache = ImageCache(self.folder, use.marks, may_write=False)
                if cache.num_stored():
                    return self._choice(cache, use, [f"read-only: {reason}"], [])
                use.end()
        except OSError:
            pass
        return f"{self.location.kind}: {self.store.folder} cannot be written ({reason})"

    def _choice(self, cache: ImageCache, use: CacheUse, notes: list[str], warnings: list[str]) -> CacheChoice:
        state = _state(cache.num_stored(), len(cache.storable()))
        size = show_bytes(room_of(self.folder))
        message = f"{self.name}: {self.location.kind}, {size} in {self.folder} ({state})"
        return CacheChoice(self.location.kind, "; ".join([message, *notes]), cache, tuple(warnings), use)


def _state(num_stored: int, num_storable: int) -> str:
    if num_stored >= num_storable:
        return "already filled"
    if num_stored == 0:
        return "filled while images are read"
    return f"{num_stored / num_storable:.0%} filled"
