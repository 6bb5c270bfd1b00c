"""The images in the body of a request: one as its bytes, or some as the files of a form."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from classifier_training.errors import printable
from classifier_training.serve.errors import RequestRefusedError
from classifier_training.serve.limits import Share, counted_body
from classifier_training.serve.service import Upload
from classifier_training.serve.settings import ServeSettings

_MAX_NAME: Final = 200
_MAX_FIELDS: Final = 100
FORM: Final = "multipart/form-data"


class _Parser(MultiPartParser):
    """Keeps files in memory, where `counted_body` has counted them."""

    spool_max_size = 0  # no limit


def is_form(request: Request) -> bool:
    """Whether the body of a request says that it is a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


async def read_whole(request: Request, settings: ServeSettings, share: Share) -> bytes:
    """The whole body of a request.

    Raises:
        RequestRefusedError: It is empty (400) or too large (413).
    """
    body = bytearray()
    async for piece in counted_body(request, settings.max_bytes, share):
        body += piece
    if not body:
        raise RequestRefusedError(400, "the body is empty; send the bytes of an image file")
    return bytes(body)


async def read_uploads(request: Request, settings: ServeSettings, share: Share) -> list[Upload]:
    """The images of a request: the files of a ``multipart/form-data`` body, else the body itself.

    Raises:
        RequestRefusedError: There is none (400), or it is too large (413).
    """
    if not is_form(request):
        return [Upload(None, await read_whole(request, settings, share))]
    body = counted_body(request, settings.max_bytes, share)
    parser = _Parser(request.headers, body, max_files=settings.max_images, max_fields=_MAX_FIELDS)
    try:
        form = await parser.parse()
    except MultiPartException as error:
        status = 413 if "Too many files" in error.message else 400
        raise RequestRefusedError(status, f"the form cannot be read: {error.message}") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    uploads = [Upload(_name(file), file.file.read()) for file in files]
    await form.close()
    if not uploads:
        raise RequestRefusedError(400, "the form has no file; send images as files, as curl -F image=@photo.jpg does")
    return uploads


def _name(file: UploadFile) -> str | None:
    return printable(file.filename)[:_MAX_NAME] if file.filename else None
