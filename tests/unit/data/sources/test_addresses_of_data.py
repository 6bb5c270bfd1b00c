from __future__ import annotations

import http.server
import ipaddress
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.helpers.photos import make_photo, write_table
from tests.helpers.shards import write_hub_parquet
from tests.helpers.web import serve

from classifier_training.data.sources.addresses_of_data import check_address, is_private, web_origins
from classifier_training.data.sources.detect import list_photos
from classifier_training.data.sources.remote import fetch, list_folder
from classifier_training.errors import DataError

LOCAL, WEB, STORE = "/data/t.csv", "https://photos.example/set/t.csv", "s3://bucket/t.csv"


@pytest.mark.parametrize(
    ("named", "source"),
    [
        ("cat.jpg", WEB), ("../cat.jpg", LOCAL), ("/photos/cat.jpg", LOCAL), ("a::b.jpg", LOCAL), ("/etc/x.jpg", WEB),
        ("file:///photos/cat.jpg", LOCAL), ("file:///photos/cat.jpg", "file:///photos/t.csv"),
        ("http://93.184.216.34/cat.jpg", WEB), ("https://photos.example:443/cat.jpg", LOCAL), ("s3://other/a.jpg", WEB),
        ("gs://b/a.jpg", LOCAL), ("az://b/a.jpg", STORE), ("abfs://c@account.dfs.core.windows.net/a.jpg", STORE),
        ("hf://datasets/x/y/a.jpg", WEB), ("http://127.0.0.1:8000/a.jpg", LOCAL), ("memory://set/a.jpg", "memory://set/t.csv"),
        ("http://10.0.0.1:8000/a.jpg", "http://10.0.0.1:8000/t.csv"), ("ftp://h/a.jpg", "ftp://h/t.csv"),
    ],
)  # fmt: skip
def test_what_a_data_set_may_name(named: str, source: str) -> None:
    assert check_address(named, source) is None


@pytest.mark.parametrize("source", [LOCAL, WEB, STORE])
@pytest.mark.parametrize(
    "named",
    [
        "reference://x::http://host/a", "simplecache::https://host/a.jpg", "zip://a.jpg::https://photos.example/a.zip",
        "a.jpg::file:///etc/passwd", "ftp://host/a.jpg", "memory://x/a.jpg", "github://a:b@c/d.jpg", "data://x",
        "smb://host/a.jpg", "dask://x", "reference://x",
    ],
)  # fmt: skip
def test_other_schemes_and_chains(named: str, source: str) -> None:
    refusal = check_address(named, source)

    assert refusal is not None
    assert "data set may not" in refusal


@pytest.mark.parametrize("source", [WEB, STORE])
@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "LOCALHOST.", "x.localhost", "10.1.2.3", "192.168.0.7", "172.16.9.9",
        "169.254.169.254", "0.0.0.0", "0",  # noqa: S104 - that is the case
         "2130706433", "0x7f000001", "017700000001", "127.1", "100.64.0.1",
        "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]", "[fe80::1]", "[fd00::1]",
        "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "metadata.google.internal", "printer.local", "",
        "user@127.0.0.1", "photos.example@10.0.0.1", "127.0.0.1:8080", "224.0.0.1",
    ],
)  # fmt: skip
def test_private_hosts(host: str, source: str) -> None:
    assert "private to this machine" in (check_address(f"http://{host}/a.jpg", source) or "")


@pytest.mark.parametrize("named", ["file:///etc/passwd", "local:///etc/passwd", "FILE:///etc/passwd", "a::b.jpg"])
def test_files_of_this_machine_and_chains_out_of_a_remote_table(named: str) -> None:
    assert check_address(named, WEB) is not None
    assert check_address(named, STORE) is not None


@pytest.mark.parametrize(
    ("address", "expected"),
    [("8.8.8.8", False), ("2606:4700::1111", False), ("::ffff:8.8.8.8", False), ("64:ff9b::808:808", False)],
)
def test_public_addresses(address: str, expected: bool) -> None:
    assert is_private(ipaddress.ip_address(address)) is expected


class _Elsewhere(http.server.BaseHTTPRequestHandler):
    """Another server of this machine, which notes what it is asked, and redirects."""

    asked: list[str]
    to: str

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(302 if self.to else 200)
        if self.to:
            self.send_header("Location", self.to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Says nothing."""


@pytest.fixture
def elsewhere() -> Iterator[tuple[str, type[_Elsewhere]]]:
    handler = type("Handler", (_Elsewhere,), {"asked": [], "to": ""})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}", handler
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "hub"])
def test_a_remote_table_reaches_no_other_server_of_the_network(
    tmp_path: Path, kind: str, elsewhere: tuple[str, type[_Elsewhere]]
) -> None:
    host, handler = elsewhere
    image = f"http://{host}/secret.png"
    if kind == "hub":
        write_hub_parquet(
            tmp_path / "served" / "t.parquet", [0], names=["a", "b"], images=[{"bytes": None, "path": image}]
        )
    else:
        write_table(tmp_path / "served" / f"t.{kind}", [{"image": image, "label": "a"}])
    with serve(tmp_path / "served") as web, pytest.raises(DataError, match="private to this machine") as caught:
        list_photos(f"{web.address}/t.{'parquet' if kind == 'hub' else kind}", cache=tmp_path / "cache")

    assert "row 1" in str(caught.value) or "row 2" in str(caught.value)
    assert handler.asked == []


def test_neither_by_a_name_nor_by_a_redirect(
    tmp_path: Path, elsewhere: tuple[str, type[_Elsewhere]], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, handler = elsewhere
    port = int(host.partition(":")[2])
    look_up = socket.getaddrinfo

    def resolve(name: Any, *arguments: Any, **options: Any) -> Any:
        return look_up("127.0.0.1" if name == "rebound.example" else name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    write_table(tmp_path / "served" / "t.csv", [{"image": f"http://rebound.example:{port}/x.png", "label": "a"}])
    make_photo(tmp_path / "served" / "a" / "0.png", 0)
    with serve(tmp_path / "served") as web:
        with pytest.raises(DataError, match=r"leads to 127\.0\.0\.1, which is private"):
            list_photos(f"{web.address}/t.csv", cache=tmp_path / "cache")
        assert handler.asked == []

        (tmp_path / "served" / "t.csv").unlink()
        web.redirects["/a/0.png"] = f"http://{host}/metadata"
        with pytest.raises(DataError, match=r"leads to 127\.0\.0\.1, which is private"):
            list_photos(web.address, cache=tmp_path / "cache")
    assert handler.asked == []


@pytest.mark.parametrize("to", ["http://{host}/x", "//{host}/x", "http://169.254.169.254/x", "http://[::1]:1/x"])
@pytest.mark.parametrize("wrapper", ["", "simplecache::"])
def test_what_the_user_names_is_redirected_to_no_private_host(
    tmp_path: Path, to: str, wrapper: str, elsewhere: tuple[str, type[_Elsewhere]]
) -> None:
    host, handler = elsewhere
    (tmp_path / "served").mkdir()
    with serve(tmp_path / "served") as web:
        web.redirects = dict.fromkeys(["/t.csv", "/photos", "/photos/"], to.format(host=host))
        with pytest.raises(
            DataError, match=r"cannot fetch .*/t\.csv: it leads to .*, which is private to this machine"
        ):
            fetch(f"{wrapper}{web.address}/t.csv", tmp_path / "cache", attempts=1)
        with pytest.raises(DataError, match=r"cannot list .*/photos: it leads to .*, which is private to this machine"):
            list_folder(f"{wrapper}{web.address}/photos", attempts=1)

    assert handler.asked == []
    assert not list((tmp_path / "cache").rglob("t.csv*"))


@pytest.mark.parametrize("to", ["file:///etc/passwd", "ftp://host/x", "http://"])
def test_what_the_user_names_is_redirected_to_the_web_alone(tmp_path: Path, to: str) -> None:
    (tmp_path / "served").mkdir()
    with serve(tmp_path / "served") as web:
        web.redirects["/t.csv"] = to
        with pytest.raises(DataError, match=f"t.csv: it redirects to {to}.*; only addresses of the web are followed"):
            fetch(f"{web.address}/t.csv", tmp_path / "cache")


def test_a_redirect_within_the_server_is_followed(tmp_path: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "moved.csv").write_text("image,label")
    with serve(tmp_path / "served") as web:
        web.redirects["/t.csv"] = f"{web.address}/moved.csv"

        assert fetch(f"{web.address}/t.csv", tmp_path / "cache").read_text() == "image,label"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("HTTPS://me:secret@Photos.example:8443/a?b", {"https": "https://photos.example:8443/"}),
        ("zip://a.jpg::http://h/a.zip", {"http": "http://h/"}), ("http://[::1]:80/a", {"http": "http://[::1]:80/"}),
        ("s3://bucket/a", {}), ("/photos", {}),
    ],
)  # fmt: skip
def test_web_servers_of_an_address(address: str, expected: dict[str, str]) -> None:
    assert web_origins(address) == expected


def test_a_local_table_may_name_a_server_of_the_network(tmp_path: Path) -> None:
    make_photo(tmp_path / "served" / "0.png", 0)
    with serve(tmp_path / "served") as web:
        table = write_table(tmp_path / "t.csv", [{"image": f"{web.address}/0.png", "label": "a"}])

        samples = list_photos(table, cache=tmp_path / "cache").samples()

    assert samples[0].image.read() == (tmp_path / "served" / "0.png").read_bytes()


def test_a_remote_table_reads_no_file_of_this_machine(tmp_path: Path) -> None:
    secret = make_photo(tmp_path / "secret.png", 0)
    for cell in (f"file://{secret}", f"local://{secret}", f"simplecache::file://{secret}"):
        write_table(tmp_path / "served" / "t.csv", [{"image": cell, "label": "a"}])
        with serve(tmp_path / "served") as web, pytest.raises(DataError, match=r"t\.csv, row 2: .* may not"):
            list_photos(f"{web.address}/t.csv", cache=tmp_path / "cache")
