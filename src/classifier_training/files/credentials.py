"""Addresses as they may be written down and shown: without user, password, query and fragment."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_USER = re.compile(r"(?<=://)(?:[^/\s'\"]*@|[^/\s'\"@:\[]*:(?!\d*[/?#])[^\s'\"@]*@)")
_QUERY_VALUE = re.compile(r"(?i)((?:password|passwd|pwd|token|secret|signature|sig|credential|api_?key)=)[^&\s'\"]+")
# one slash is missing where an address was taken for a path
_ADDRESS: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+:/)(?:/|(?=[^/\s'\"]*@))([^\s'\"<>]+)")
_PARTS: Final = re.compile(r"::(?=(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://)")
# the password may hold a / or a ?, but host:8080/a@b is no password
_OWN_USER: Final = re.compile(r"(?:[^/?#]*@|[^/?#@:\[]*:(?!\d*(?:[/?#]|$))[^@]*@(?:[^/?#@]*@)*)")
_USER_IS_PLACE: Final = {"az", "abfs", "abfss", "wasb", "wasbs", "github"}  # container@account, org:repo@commit
_SIGNATURE: Final = re.compile(
    r"(?i)x-(?:amz|goog|oss)-.*|awsaccesskeyid|googleaccessid|key-pair-id|signature|expires|policy"
)
_AZURE_SIGNATURE: Final = re.compile(r"(?i)sig|s[etpvr]|spr|sip|srt|ss|sdd|sk[a-z]{1,3}")
_NAMED: Final = r"(?:api|access|account|secret|private|auth)[-_]?key|token|secret|passwo?r?d|passphrase|credentials?"
_SECRET_NAME: Final = re.compile(rf"(?i)(?:^|[-_.])(?:key|{_NAMED})$")
# in a mapping such as {key: abc, client_kwargs: {token: abc}}
_SECRET_ENTRY: Final = re.compile(rf"(?i)((?<![a-z])(?:key|[a-z_-]*(?:{_NAMED}))['\"]?\s*:(?!//)\s*)[^\s,}}][^,}}]*")
_SHORTEST: Final = 3


def without_credentials(text: str) -> str:
    """A text whose addresses have lost their user and password, and their secret parameters.

    Example:
        >>> without_credentials("https://me:secret@host/mlflow is not there")
        'https://host/mlflow is not there'
    """
    return _QUERY_VALUE.sub(r"\1…", _USER.sub("", text))


def has_password(uri: str) -> bool:
    """Whether an address holds what must not be written down; a user alone may be."""
    user = _USER.search(uri)
    return (user is not None and ":" in user.group()) or _QUERY_VALUE.search(uri) is not None


def public_address(address: str) -> str:
    """An address, or a chain of them, as it may be written down: without user, password, query and fragment.

    Example:
        >>> public_address("https://me:secret@host/photos.tar?sig=secret")
        'https://host/photos.tar?…'
    """
    return "::".join(_public(part) for part in _PARTS.split(address))


def public_text(text: str) -> str:
    """A text in which every address is public."""
    return _ADDRESS.sub(lambda found: public_address(f"{found[1]}/{found[2]}"), text)


def public_word(word: str) -> str:
    """A word of a command line, whose only address may have spaces in it."""
    start = re.search(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://", word)
    return word if start is None else word[: start.start()] + public_address(word[start.start() :])


def public_words(words: Sequence[str]) -> list[str]:
    """A command line as it may be written down: its addresses are public, and named secrets have no value.

    Example:
        >>> public_words(["train.py", "HF_TOKEN=abc", "--api-key", "abc", "lr=1"])
        ['train.py', 'HF_TOKEN=…', '--api-key', '…', 'lr=1']
    """
    public: list[str] = []
    is_secret = False
    for word in words:
        name, equals, value = word.partition("=")
        if name.startswith("data.class_weights"):  # a class may be called key
            public.append(word)
        elif is_secret and not word.startswith("-"):
            public.append("…")
        elif equals and _SECRET_NAME.search(name):
            public.append(f"{name}={'…' if value else ''}")
        else:
            public.append(_SECRET_ENTRY.sub(r"\1…", public_word(word)))
        is_secret = word.startswith("-") and not equals and _SECRET_NAME.search(name) is not None
    return public


def redacted(text: str, address: str) -> str:
    """The text of another program's message about an address, without what is secret in the address."""
    for secret in sorted(_secrets(address), key=len, reverse=True):
        text = text.replace(secret, "…")
    return public_text(text)


def identity(address: str) -> str:
    """An address without what differs between two visits to the same file: user, password and signature.

    A token may be what tells two files apart, and stays; what is known to sign the path does not.
    """
    parts = []
    for part in _PARTS.split(address):
        scheme, rest, query, mark = _split(part)
        names = [pair.partition("=")[0] for pair in query.split("&")]
        signing = _AZURE_SIGNATURE if "sig" in names and "sv" in names else _SIGNATURE
        kept = [pair for pair, name in zip(query.split("&"), names, strict=True) if not signing.fullmatch(name)]
        parts.append(scheme + rest + (mark + "&".join(kept) if kept and query else ""))
    return "::".join(parts)


def has_lost_credentials(address: str) -> bool:
    """Whether an address is a public one that had a query or a fragment."""
    return "://" in address and address.endswith(("?…", "#…"))


def _public(part: str) -> str:
    scheme, rest, query, mark = _split(part)
    return f"{scheme}{rest}{mark}{'…' if query else ''}"


def _split(part: str) -> tuple[str, str, str, str]:
    """Scheme with its ``://``, the rest without user, the query with the fragment, and the mark before it."""
    scheme, colon, rest = part.partition("://")
    if not colon:
        return "", part, "", ""
    user = _OWN_USER.match(rest)
    name = scheme.rpartition("::")[2].lower()
    if user is not None and (name not in _USER_IS_PLACE or (":" in user[0] and name != "github")):
        rest = rest[user.end() :]
    found = re.search(r"[?#]", rest)
    if found is None:
        return scheme + colon, rest, "", ""
    return scheme + colon, rest[: found.start()], rest[found.end() :], found[0] if rest[found.end() :] else ""


def _secrets(address: str) -> set[str]:
    """The pieces of an address that are secret, as they are and as other programs may show them."""
    from urllib.parse import unquote

    pieces: set[str] = set()
    for part in _PARTS.split(address):
        _, rest, query, _ = _split(part)
        user = part.partition("://")[2].partition(rest)[0] if rest else ""
        pieces |= {user, user.rstrip("@"), *user.rstrip("@").split(":"), query}
        pieces |= {value for pair in re.split(r"[&#]", query) for value in (pair, pair.partition("=")[2])}
    return {text for piece in pieces for text in (piece, unquote(piece)) if len(text) >= _SHORTEST}
