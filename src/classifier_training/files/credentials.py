"""Addresses as they may be written down and shown: without user, password and query."""

from __future__ import annotations

import re

_USER = re.compile(r"(?<=://)[^/\s'\"]*@")
_QUERY_VALUE = re.compile(r"(?i)((?:password|passwd|pwd|token|secret|signature|sig|credential|api_?key)=)[^&\s'\"]+")


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
