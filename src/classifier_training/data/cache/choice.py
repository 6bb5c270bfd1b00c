"""Decides where the decoded pictures of a run are kept, opens that cache, and says what was decided."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from classifier_training.data.cache.budget import show_bytes
from classifier_training.data.cache.making import (
    cache_problem,
    grow_cache,
    make_cache,
    room_of,
    table_bytes,
    touch_cache,
)
from classifier_training.data.cache.picture_cache import PictureCache
from classifier_training.data.cache.places import (
    SHARED_MEMORY,
    CachePlace,
    disk_place,
    memory_place,
    remove_abandoned,
    temporary_place,
)
from classifier_training.data.cache.slots import PictureList
from classifier_training.data.cache.users import CacheUse, is_used

CacheSetting = Literal["auto", "none", "memory", "disk"]


@dataclass(frozen=True, slots=True)
class CacheChoice:
    """What was decided; to be closed when the run ends. The end of the process closes it, too.

    Attributes:
        kind: Where pictures are kept.
        sentence: The decision, for a person.
        cache: The cache, for the datasets; None: pictures are decoded every time.
        warnings: What a person should not miss, such as a cache that was damaged.
        use: Keeps the cache from being removed.
    """

    kind: Literal["none", "memory", "disk"]
    sentence: str
    cache: PictureCache | None = None
    warnings: tuple[str, ...] = ()
    use: CacheUse | None = None

    def close(self) -> None:
        """Ends the use of the cache; one in memory is removed when no other run uses it."""
        if self.cache is not None:
            self.cache.close()
        if self.use is not None:
            self.use.end()


def choose_cache(
    pictures: PictureList,
    root: Path,
    setting: CacheSetting = "auto",
    limit: int | None = None,
    *,
    shared_memory: Path = SHARED_MEMORY,
) -> CacheChoice:
    """Decides where pictures are kept and opens the cache; one that does not exist is made, empty.

    ``auto`` takes the disk if all pictures fit into what caches may take there, else memory if they fit there, else
    nothing. ``disk`` and ``memory`` keep as many as fit, from the first on. What is kept never changes a training.

    Args:
        pictures: What is to be kept.
        root: The cache folder.
        setting: ``data.cache``.
        limit: ``data.cache_limit``, bytes; None: a share of what is free, see `budget`.
        shared_memory: The file system in memory.

    Returns:
        The decision with the open cache. A place that is full, read-only or damaged is no error: it is said.
    """
    choice = _choose(pictures, root, setting, limit, shared_memory)
    remove_abandoned(shared_memory)
    return choice


def _choose(
    pictures: PictureList, root: Path, setting: CacheSetting, limit: int | None, shared_memory: Path
) -> CacheChoice:
    name = f"picture cache ({pictures.form.role})"
    if setting == "none" or pictures.num_bytes == 0:
        reason = "data.cache=none" if setting == "none" else "there is no picture to keep"
        return CacheChoice("none", f"{name}: none, {reason}")
    disk = disk_place(root, limit, is_asked_for=setting == "disk")
    memory = memory_place(limit, shared_memory)
    places = {
        "auto": [disk] if memory is None else [disk, memory],
        "disk": [disk],
        "memory": [memory or temporary_place(limit)],
    }
    refusals: list[str] = []
    for place in places[setting]:
        outcome = _Opening(name, place, pictures, partly=setting != "auto").open()
        if isinstance(outcome, CacheChoice):
            return outcome
        refusals.append(outcome)
    return CacheChoice("none", f"{name}: none; " + "; ".join(refusals))


class _Opening:
    """Opens the cache of some pictures at one place, or says why not."""

    def __init__(self, name: str, place: CachePlace, pictures: PictureList, *, partly: bool) -> None:
        self.name = name
        self.place = place
        self.store = place.store
        self.pictures = pictures
        self.partly = partly
        self.folder = place.store.folder / pictures.key

    def open(self) -> CacheChoice | str:
        """The open cache, or in words why there is none."""
        try:
            with self.place.locked():
                return self._open_locked()
        except OSError as error:
            return self._open_read_only(error.strerror or str(error))

    def _open_locked(self) -> CacheChoice | str:
        self.store.clean()
        warnings = self._remove_if_broken()
        tables = table_bytes(self.folder, len(self.pictures))
        budget = self.place.budget(self.store.num_bytes_now())
        allowed = budget.num_bytes - self.store.num_bytes_in_use(but=self.folder)
        count, room = self.pictures.fitting(allowed - tables)
        needed = show_bytes(self.pictures.num_bytes + tables)
        terms = f"{needed} needed, {show_bytes(allowed)} allowed ({budget.reason})"
        if count == 0 or (count < len(self.pictures) and not self.partly):
            if self.place.limit is not None:
                self.store.remove_unused(self.place.limit)
            return f"{self.place.kind}: {terms}"
        notes = [self.place.note] if self.place.note else []
        if count < len(self.pictures):
            notes.append(f"the first {count} of {len(self.pictures)} pictures: {terms}")
        if removed := self._make_room(room, budget.num_bytes - room - tables):
            notes.append(f"{removed} older cache(s) removed")
        self._make_or_grow(room)
        use = CacheUse.register(self.folder, len(self.pictures), self._at_the_end())
        return self._choice(PictureCache(self.folder, use.marks), use, notes, warnings)

    def _remove_if_broken(self) -> list[str]:
        problem = cache_problem(self.folder, self.pictures) if self.folder.exists() else None
        if problem is None:
            return []
        if not self.store.remove(self.folder):
            raise OSError(f"{problem}, and it cannot be removed")
        return [f"{self.name} in {self.folder} is made anew: {problem}"]

    def _make_room(self, room: int, left_for_others: int) -> int:
        """Removes what nobody uses and there is no room for, and returns how many caches that were."""
        is_too_large = self.folder.exists() and room < room_of(self.folder)
        removed = is_too_large and not is_used(self.folder) and self.store.remove(self.folder)
        return removed + len(self.store.remove_unused(left_for_others, but=self.folder))

    def _make_or_grow(self, room: int) -> None:
        if self.folder.exists():
            grow_cache(self.folder, room)
        else:
            latest_first = [cache.folder for cache in reversed(self.store.stored())]
            make_cache(self.folder, self.pictures, room, latest_first)
        touch_cache(self.folder)

    def _at_the_end(self) -> Callable[[], None] | None:
        if not self.place.is_temporary:
            return None
        place, folder = self.place, self.folder  # not self, which would keep the pictures' columns in memory

        def remove_if_unused() -> None:
            with contextlib.suppress(OSError), place.locked():
                if not is_used(folder):
                    place.store.remove(folder)

        return remove_if_unused

    def _open_read_only(self, reason: str) -> CacheChoice | str:
        """What others have stored, where nothing can be written."""
        try:
            if self.folder.exists() and cache_problem(self.folder, self.pictures) is None:
                use = CacheUse.read_only(len(self.pictures))
                cache = PictureCache(self.folder, use.marks, may_write=False)
                if cache.num_stored():
                    return self._choice(cache, use, [f"read-only: {reason}"], [])
                use.end()
        except OSError:
            pass
        return f"{self.place.kind}: {self.store.folder} cannot be written ({reason})"

    def _choice(self, cache: PictureCache, use: CacheUse, notes: list[str], warnings: list[str]) -> CacheChoice:
        state = _state(cache.num_stored(), len(cache.storable()))
        size = show_bytes(room_of(self.folder))
        sentence = f"{self.name}: {self.place.kind}, {size} in {self.folder} ({state})"
        return CacheChoice(self.place.kind, "; ".join([sentence, *notes]), cache, tuple(warnings), use)


def _state(num_stored: int, num_storable: int) -> str:
    if num_stored >= num_storable:
        return "already filled"
    if num_stored == 0:
        return "filled while pictures are read"
    return f"{num_stored / num_storable:.0%} filled"
