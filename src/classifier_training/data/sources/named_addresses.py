"""Images at addresses that a user names to be predicted: each is read once, into memory, and kept nowhere."""

from __future__ import annotations

import functools
import posixpath
import time
from collections.abc import Iterator
from dataclasses import dataclass

from classifier_training.data.sources.address import WEB, file_name, plain_scheme, shown
from classifier_training.data.sources.remote import ATTEMPTS, list_folder, read_bytes
from classifier_training.data.sources.retry import with_retries
from classifier_training.imaging.decode import IMAGE_EXTENSIONS
from classifier_training.types import ImageRecord


@dataclass(frozen=True, slots=True)
class RemoteImage(ImageRecord):
    """An image at an address; ``path`` is the address."""

    def __str__(self) -> str:
        """The address for messages and files: without the password or the signature that it may hold."""
        return shown(self.path)

    def read(self) -> bytes:
        """The bytes of the image.

        Raises:
            DataError: It does not exist, may not be read or cannot be reached.
        """
        action = functools.partial(read_bytes, self.path)
        return with_retries(action, "cannot fetch it", None, ATTEMPTS, time.sleep, address=self.path)


def images_at(address: str) -> Iterator[RemoteImage]:
    """The image at an address, or those in the folder there and in its subfolders, in sorted order.

    An address of the web is a folder if it ends with a slash, any other one if its name has not the extension of an
    image.

    Raises:
        DataError: A folder cannot be listed.
    """
    address = plain_scheme(address)
    is_image = posixpath.splitext(file_name(address))[1].lower() in IMAGE_EXTENSIONS
    is_folder = address.endswith("/") if address.startswith(WEB) else not is_image
    if not is_folder:
        yield RemoteImage(address)
        return
    entries = list_folder(address)
    for file in entries.files:
        if posixpath.splitext(file_name(file))[1].lower() in IMAGE_EXTENSIONS:
            yield RemoteImage(file)
    for folder in entries.folders:
        yield from images_at(folder if folder.endswith("/") else f"{folder}/")
