from __future__ import annotations

import pytest

from classifier_training.files.credentials import has_password, without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://me:secret@host:5000/mlflow", "http://host:5000/mlflow"),
        ("request to http://me:sec@ret@host/api failed", "request to http://host/api failed"),
        ("https://token@host", "https://host"),
        ("postgresql+psycopg2://me:secret@host/db", "postgresql+psycopg2://host/db"),
        ("postgresql://host/db?user=me&password=secret&sslmode=require", "postgresql://host/db?user=me&password=…&sslmode=require"),
        ("az://photos?sv=1&sig=secret&se=2", "az://photos?sv=1&sig=…&se=2"),
        ("s3://b/k?X-Amz-Credential=me&X-Amz-Signature=secret", "s3://b/k?X-Amz-Credential=…&X-Amz-Signature=…"),
        ("sqlite:////runs/mail@home/mlflow.db", "sqlite:////runs/mail@home/mlflow.db"),
        ("no address, me@home", "no address, me@home"),
    ],
)  # fmt: skip
def test_an_address_is_shown_without_what_is_secret(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("http://me:secret@host", True),
        ("postgresql://host/db?password=secret", True),
        ("postgresql://me@host/db", False),
        ("http://host:5000", False),
        ("sqlite:///runs/mlflow.db", False),
        ("mlruns", False),
    ],
)
def test_a_password_is_seen(uri: str, expected: bool) -> None:
    assert has_password(uri) is expected
