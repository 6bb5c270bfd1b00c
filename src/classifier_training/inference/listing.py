"""The images that were named, one after the other: files, folders, patterns, a list, addresses.

Nothing here holds all of them: a folder is walked while its first images are predicted already.
"""

from __future__ import annotations

import contextlib
import glob
import heapq
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.typing import NDArray

from classifier_training.errors import DataError
from classifier_training.files.hidden import is_left_behind, is_skipped, leads_up, skipped_notice
from classifier_training.files.text import did_you_mean, exists, is_folder, name_some
from classifier_training.imaging.decode import IMAGE_EXTENSIONS
from classifier_training.imaging.ignored import describe_ignored
from classifier_training.types import ImageRecord

Image = Path | ImageRecord
OpenAddress = Callable[[str], Iterable[ImageRecord]]
"""Gives the images at an address: the one that it names, or those of the folder."""
_logger = logging.getLogger(__name__)
STANDARD_INPUT: Final = "-"
_NAMES_IN_A_BLOCK: Final = 4_096
_LONGEST_PATH: Final = 4096
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"


def named_images(
    names: Iterable[str | os.PathLike[str]],
    on_ignored: Callable[[str], None],
    *,
    open_address: OpenAddress | None = None,
    standard_input: IO[bytes] | None = None,
) -> Iterator[Image]:
    """The images that were named, in the order given.

    A file is taken with any name. A folder is searched with all its subfolders for files with an image's extension, in
    sorted order; what is hidden, or left behind by a system such as ``@eaDir``, is passed over. A name that is no file
    or folder may be a pattern such as ``photos/*.jpg`` or ``photos/**/*.png``. ``-`` is a list, a name a line or, as
    of ``find -print0``, names that end with a NUL. What the list names and does not exist fails when it is read.

    Args:
        names: Files, folders, patterns, addresses, and ``-``.
        on_ignored: Called with a warning about files in a folder that are not read, when the folder has been read.
        open_address: Reads addresses; None: there are none, and ``://`` has no meaning.
        standard_input: What ``-`` reads; None: ``-`` has no meaning.

    Raises:
        DataError: A name stands for nothing, or there is no image at all. What is named wrongly is found before the
            first image is given.
    """
    texts = [os.fspath(name) for name in names]
    if "" in texts:  # which would be the working directory; a variable of a shell may be empty
        raise DataError("the name of an image is empty; name image files, or folders of them, such as .")
    sources = [_source(text, on_ignored, open_address, standard_input) for text in texts]
    if not sources:
        raise DataError("no image was named; name image files, or folders of them")
    is_empty = True
    for image in chain.from_iterable(sources):
        is_empty = False
        yield image
    if is_empty:
        shown = name_some("standard input" if text == STANDARD_INPUT and standard_input else text for text in texts)
        extensions = ", ".join(sorted(IMAGE_EXTENSIONS))
        raise DataError(f"no images in {shown}; searched for files that end in {extensions}")


class ImageCount:
    """How many images were named, counted by a thread beside the work.

    Args:
        names: As of `named_images`.

    Attributes:
        total: 0 while it is not known; that of a list or an address never is.
        thread: Which counts; None: nothing is counted.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.total = 0
        self.thread: threading.Thread | None = None
        if not any(name == STANDARD_INPUT or is_address(name) for name in names):
            self.thread = threading.Thread(target=self._count, args=(names,), daemon=True)
            self.thread.start()

    def _count(self, names: Sequence[str]) -> None:
        with contextlib.suppress(DataError, OSError):  # which the work itself reports
            self.total = sum(1 for name in names for _ in _counted(name))


def _counted(name: str) -> Iterable[Path]:
    """The images of a name in any order."""
    matches = [name] if exists(name) else glob.iglob(name, recursive=True)  # noqa: PTH207 - of any root
    for match in matches:
        yield from walk_images(Path(match), lambda _: None, in_order=False) if is_folder(match) else (Path(match),)


def _source(
    text: str,
    on_ignored: Callable[[str], None],
    open_address: OpenAddress | None,
    standard_input: IO[bytes] | None,
) -> Iterable[Image]:
    """The images of one name; what it stands for is known when this returns."""
    if text == STANDARD_INPUT and standard_input is not None:
        return _of_list(standard_input, on_ignored, open_address)
    if open_address is not None and is_address(text):
        return open_address(text)
    if exists(text):
        return _of_path(text, on_ignored)
    matches = sorted(glob.glob(text, recursive=True)) if glob.has_magic(text) else []  # noqa: PTH207 - of any root
    if matches:
        return chain.from_iterable(_of_path(match, on_ignored) for match in matches)
    if glob.has_magic(text):
        raise DataError(f"no file or folder matches {text}")
    raise DataError(f"no such file or folder: {text}{did_you_mean(text)}")


def is_address(text: str) -> bool:
    """Whether a name is an address such as ``https://host/photo.jpg``, and not a path of this machine."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.replace(":", "").replace("+", "").isalnum() and not exists(text)


def _of_path(text: str, on_ignored: Callable[[str], None]) -> Iterable[Path]:
    path = Path(text)
    return walk_images(path, on_ignored) if path.is_dir() else (path,)


def _of_list(stream: IO[bytes], on_ignored: Callable[[str], None], open_address: OpenAddress | None) -> Iterator[Image]:
    """The images that a list names; folders in it are searched as well."""
    for name in listed_names(stream):
        if open_address is not None and is_address(name):
            yield from open_address(name)
        elif "\0" not in name and exists(name):
            yield from _of_path(name, on_ignored)
        else:
            yield Path(name)


def listed_names(stream: IO[bytes]) -> Iterator[str]:
    r"""The names in a list: what stands between NULs where there are any, else a line each, without ``\r``.

    A NUL comes within the length of the longest path, so no more than that is read ahead.
    """
    start = b""
    while len(start) <= _LONGEST_PATH and b"\0" not in start:
        more = stream.read(1) if not start else stream.read(_LONGEST_PATH + 1 - len(start))
        if not more:
            break
        start += more
    end = b"\0" if b"\0" in start else b"\n"
    for name in _pieces(start.removeprefix(_BYTE_ORDER_MARK), stream, end):
        text = os.fsdecode(name if end == b"\0" else name.removesuffix(b"\r"))
        if text:
            yield text


def _pieces(start: bytes, stream: IO[bytes], end: bytes) -> Iterator[bytes]:
    rest = start
    while True:
        *whole, rest = rest.split(end)
        yield from whole
        more = stream.read(1 << 16)
        if not more:
            yield rest
            return
        rest += more


def outside(images: Iterable[Image], folder: Path, on_ignored: Callable[[str], None]) -> Iterator[Image]:
    """The images that are not in the folder of copies or one of its subfolders.

    Raises:
        DataError: All of them are there.
    """
    root = os.path.join(os.path.abspath(folder), "")  # noqa: PTH100, PTH118 - a Path for each file takes seconds
    num_inside, is_empty = 0, True
    for image in images:
        if os.path.abspath(str(image)).startswith(root):  # noqa: PTH100 - as above
            num_inside += 1
        else:
            is_empty = False
            yield image
    if num_inside and is_empty:
        raise DataError(f"--copy-to {folder}: all images that were named are in this folder; name another one")
    if num_inside:
        on_ignored(f"{num_inside} images in {folder} are left out, as they may be copies of an earlier command")


def find_images(
    paths: Iterable[str | os.PathLike[str]], on_ignored: Callable[[str], None] = _logger.warning
) -> list[Path]:
    """The images in files, folders and patterns as a list; see `named_images`."""
    return [image for image in named_images(paths, on_ignored) if isinstance(image, Path)]


def walk_images(folder: Path, on_ignored: Callable[[str], None], *, in_order: bool = True) -> Iterator[Path]:
    """The images below a folder, with no more in memory than the names in the folders on the way.

    A folder that cannot be read is given as if it were an image, so that reading it reports the reason.

    Args:
        folder: The folder.
        on_ignored: As of `named_images`.
        in_order: Whether they are sorted; otherwise nothing is in memory.
    """
    others, skipped = Counter[str](), list[str]()
    # Folders of photos are often links to other disks; a link back to a parent must not be walked for ever.
    visited: set[str] = set()
    waiting: list[Iterator[tuple[str, bool]]] = [iter(((str(folder), True),))]
    while waiting:
        path, is_directory = next(waiting[-1], ("", False))
        if not path:
            waiting.pop()
        elif is_directory:
            real = os.path.realpath(path)
            if real in visited or (path != str(folder) and leads_up(path, str(folder))):
                continue
            visited.add(real)
            try:
                waiting.append(_entries(path, skipped, in_order=in_order))
            except OSError:
                yield Path(path)
        elif (extension := os.path.splitext(path)[1].lower()) in IMAGE_EXTENSIONS:  # noqa: PTH122 - of a million files
            yield Path(path)
        else:
            others[extension or "no extension"] += 1
    if others:
        on_ignored(describe_ignored(str(folder), others))
    for notice in skipped_notice(str(folder), skipped):
        on_ignored(notice)


def _entries(folder: str, skipped: list[str], *, in_order: bool) -> Iterator[tuple[str, bool]]:
    """What lies in a folder, and whether it is a folder; ``skipped`` takes what systems have left behind.

    Raises:
        OSError: The folder cannot be read.
    """
    entries = os.scandir(folder)
    return _sorted_entries(folder, entries, skipped) if in_order else _visible(entries, skipped)


def _visible(entries: Iterable[os.DirEntry[str]], skipped: list[str]) -> Iterator[tuple[str, bool]]:
    for entry in entries:
        if not is_skipped(entry.name):
            yield entry.path, entry.is_dir()
        elif is_left_behind(entry.name):
            skipped.append(entry.name)


def _sorted_entries(folder: str, entries: Iterable[os.DirEntry[str]], skipped: list[str]) -> Iterator[tuple[str, bool]]:
    """As `_visible`, sorted: a million names as sorted arrays of bytes take a fifth of what they take as texts."""
    folders, blocks = set[bytes](), list[NDArray[np.bytes_]]()
    visible = _visible(entries, skipped)
    while some := list(islice(visible, _NAMES_IN_A_BLOCK)):
        names = [os.fsencode(os.path.basename(path)) for path, _ in some]  # noqa: PTH119 - of a million files
        folders.update(name for name, (_, is_directory) in zip(names, some, strict=True) if is_directory)
        blocks.append(np.sort(np.array(names, np.bytes_)))
    for name in heapq.merge(*(map(bytes, block) for block in blocks)):
        yield os.path.join(folder, os.fsdecode(name)), name in folders  # noqa: PTH118 - of a million files
