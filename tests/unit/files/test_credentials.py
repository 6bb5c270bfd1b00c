from __future__ import annotations

import pytest

from classifier_training.files.credentials import (
    has_lost_credentials,
    has_password,
    identity,
    public_address,
    public_text,
    public_word,
    public_words,
    redacted,
    without_credentials,
)


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


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("https://me:s3cret@host/x?sig=s3cret&y=2", "https://host/x?…"),
        ("https://s3cret@host:8080/x#s3cret", "https://host:8080/x#…"),
        ("https://me:s3/c?r#et@host/x", "https://host/x"),
        ("https://me:s3c@ret@host/x", "https://host/x"),
        ("s3://AKIA:s3/cr+et@bucket/a", "s3://bucket/a"),
        ("https://host/x?sig=a:s3cret::b", "https://host/x?…"),
        ("zip://a::https://me:s3cret@host/x?sig=s3cret", "zip://a::https://host/x?…"),
        ("simplecache::https://me:s3cret@host/x?sig=s3cret", "simplecache::https://host/x?…"),
        ("zip://a?s3cret::https://host/x", "zip://a?…::https://host/x"),
        ("abfs://photos@account.dfs.core.windows.net/x", "abfs://photos@account.dfs.core.windows.net/x"),
        ("abfs://photos:s3cret@account/x", "abfs://account/x"),
        ("hf://datasets/me/set@main/x", "hf://datasets/me/set@main/x"),
        ("https://host:8080/a@b", "https://host:8080/a@b"),
        ("https://[::1]:8080/a@b", "https://[::1]:8080/a@b"),
        ("https://host/photos?", "https://host/photos"),
        ("/photos/a?b#c@d", "/photos/a?b#c@d"),
    ],
)
def test_an_address_as_it_may_be_written_down(address: str, public: str) -> None:
    assert public_address(address) == public
    assert public_address(public) == public
    assert has_lost_credentials(public) == public.endswith("…")


def test_addresses_in_a_text_and_a_message_of_another_program() -> None:
    assert public_text("see 'https://a:b@h/x?sig=1' or s3://b/k") == "see 'https://h/x?…' or s3://b/k"
    assert public_word("data.root=https://me:s@h/my photos?sig=s3cret") == "data.root=https://h/my photos?…"
    message = redacted("no bucket me:s3cret@b, sig 'ab cd'", "s3://me:s3cret@b/x?sig=ab%20cd")
    assert message == "no bucket …b, sig '…'"


def test_the_same_file_with_another_signature() -> None:
    amazon, azure = (
        "https://h/x.tar?id=3&X-Amz-Signature={0}&X-Amz-Date={0}",
        "https://h/x.tar?id=3&sv=1&se={0}&sig={0}",
    )

    for signed in (amazon, azure):
        assert identity(signed.format(1)) == identity(signed.format(2)) == "https://h/x.tar?id=3"
    assert identity("https://me:a@h/x") == identity("https://h/x") == "https://h/x"
    for query in ("id", "key", "token", "sig", "se", "file"):  # may be what tells two files apart
        assert identity(f"https://h/x?{query}=1") != identity(f"https://h/x?{query}=2")


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIA:s3cret@b/x", "s3://k:s3/s3cret@b/x?s3cret#s3cret", "gs://u:s3cret@b/x", "gcs://u:s3cret@b/x",
        "az://u:s3cret@c/x", "abfs://c:s3cret@a.dfs.core.windows.net/x", "abfss://c@a.dfs.net/x?sv=1&sig=s3cret",
        "hf://u:s3cret@datasets/a/b", "hf://datasets/a?token=s3cret", "simplecache::s3://k:s3cret@b/x.csv",
        "zip://a.jpg::https://u:s3cret@h/z.zip?sig=s3cret", "memory://u:s3cret@b/x#s3cret", "sftp://u:s3cret@h/x",
        "HTTPS://u:s3cret@h/x", "Filecache::GS://u:s3cret@b/x?sig=s3cret",
        "https://h/x?X-Amz-Credential=s3cret&X-Amz-Signature=s3cret", "webhdfs://u:s3cret@h/x?delegation=s3cret",
    ],
)  # fmt: skip
def test_no_form_of_an_address_keeps_its_secret(address: str) -> None:
    texts = [
        public_address(address), public_text(f"cannot read '{address}': no"), public_word(f"data.root={address}"),
        redacted(f"403 at {address}", address), *public_words(["train", f"CLASSIFIER_TRAINING_DATA_ROOT={address}"]),
    ]  # fmt: skip

    assert [text for text in texts if "s3cret" in text] == []


@pytest.mark.parametrize(
    "words",
    [
        ["AWS_SECRET_ACCESS_KEY=s3cret"], ["WANDB_API_KEY=s3cret"], ["HF_TOKEN=s3cret"], ["DB_PASSWORD=s3cret"],
        ["--api-key=s3cret"], ["--token", "s3cret"], ["x.secret=s3cret"], ["AZURE_STORAGE_ACCOUNT_KEY=s3cret"],
        ["storage_options={key: s3cret, secret: s3cret}"], ['{"secret": "s3cret", "token":"s3cret"}'],
        ["MLFLOW_TRACKING_PASSWORD=s3cret"], ["--password", "s3cret", "more"],
    ],
)  # fmt: skip
def test_no_named_secret_of_a_command_line_is_kept(words: list[str]) -> None:
    assert [word for word in public_words(["train.py", *words]) if "s3cret" in word] == []


def test_other_words_of_a_command_line_stay() -> None:
    words = [
        "train", "photos/keys", "model.name=resnet10t", "--token", "--quiet", "seed=1",
        "data.class_weights={key: 1.0, cat: 2.0}", "data.class_weights.key=2", "run.name=tokens", "HF_TOKEN=", "s3://b/x",
    ]  # fmt: skip

    assert public_words(words) == words
