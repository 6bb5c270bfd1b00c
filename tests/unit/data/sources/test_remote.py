from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from tests.helpers.web import WebFolder, serve

from classifier_training.data.sources.remote import copy_path, fetch, list_folder, list_remote
from classifier_training.errors import DataError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[WebFolder]:
    (tmp_path / "served").mkdir()
    with serve(tmp_path / "served") as web:
        yield web


def no_wait(seconds: float) -> None:
    assert seconds > 0


def temporary_files(cache: Path) -> list[Path]:
    return list(cache.rglob("*.tmp"))


def test_a_file_is_fetched_once(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    content = os.urandom(300_000)
    (tmp_path / "served" / "a b.bin").write_bytes(content)
    address = f"{web.address}/a b.bin"

    first, second = fetch(address, cache), fetch(address, cache)

    assert first == second == copy_path(address, cache)
    assert first.read_bytes() == content
    assert first.is_relative_to(cache / "remote")
    assert web.gets == {"/a%20b.bin": 1}
    assert temporary_files(cache) == []


def test_the_case_of_a_scheme_does_not_count(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    (tmp_path / "served" / "a.bin").write_bytes(b"content")
    address = f"{web.address}/a.bin?sig=1".replace("http", "HTTP", 1)

    assert fetch(address, cache).read_bytes() == b"content"
    assert copy_path(address, cache) == copy_path(f"{web.address}/a.bin?sig=1", cache)
    assert list_folder(web.address.replace("http", "Http", 1)).files == [f"{web.address}/a.bin"]


def test_an_address_that_cannot_be_one_is_tried_once(cache: Path) -> None:
    waits: list[float] = []

    with pytest.raises(DataError, match=r"127\.0\.0\.1/x: .*; in a user or a password write / as %2F") as caught:
        fetch("http://me:hidden/word@127.0.0.1/x", cache, sleep=waits.append)

    assert waits == []
    assert "hidden" not in str(caught.value)


def test_a_copy_is_fetched_again_when_the_file_has_changed(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    served = tmp_path / "served" / "x"
    served.write_text("one")
    os.utime(served, (1_000_000_000, 1_000_000_000))
    address = f"{web.address}/x"
    fetch(address, cache)
    assert fetch(address, cache, revalidate=True).read_text() == "one"
    assert web.gets["/x"] == 1

    served.write_text("two")  # of the same length, at another time
    os.utime(served, (1_000_000_100, 1_000_000_100))

    assert fetch(address, cache).read_text() == "one"
    assert fetch(address, cache, revalidate=True).read_text() == "two"
    assert web.gets["/x"] == 2


def test_a_copy_that_vanished_comes_back_the_same(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    (tmp_path / "served" / "x").write_text("one")
    copy = fetch(f"{web.address}/x", cache)
    before = copy.stat()
    copy.unlink()

    after = fetch(f"{web.address}/x", cache).stat()

    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_copy_that_was_cut_off_is_fetched_again(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    (tmp_path / "served" / "x").write_text("whole")
    copy = fetch(f"{web.address}/x", cache)
    times = copy.stat()
    copy.write_text("wh")
    os.utime(copy, ns=(times.st_mtime_ns, times.st_mtime_ns))

    assert fetch(f"{web.address}/x", cache, revalidate=True).read_text() == "whole"


@pytest.mark.parametrize("statuses", [[503], [500, 503, 502], [429]])
def test_a_server_that_recovers(tmp_path: Path, cache: Path, web: WebFolder, statuses: list[int]) -> None:
    (tmp_path / "served" / "x").write_text("content")
    web.failures["/x"] = statuses

    assert fetch(f"{web.address}/x", cache, sleep=no_wait).read_text() == "content"
    assert web.failures["/x"] == []


def test_a_server_that_does_not_recover(cache: Path, web: WebFolder) -> None:
    web.failures["/x"] = [503] * 100

    with pytest.raises(DataError, match=rf"^cannot fetch {web.address}/x: 503.*\(tried 2 times\)$") as caught:
        fetch(f"{web.address}/x", cache, attempts=2, sleep=no_wait)

    assert "\n" not in str(caught.value)


def test_a_file_that_comes_cut_off_is_never_seen(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    (tmp_path / "served" / "x").write_bytes(b"x" * 1000)
    web.is_cutting = True

    with pytest.raises(DataError, match=rf"^cannot fetch {web.address}/x: .*\(tried 3 times\)$"):
        fetch(f"{web.address}/x", cache, attempts=3, sleep=no_wait)

    assert not copy_path(f"{web.address}/x", cache).exists()
    assert temporary_files(cache) == []


@pytest.mark.parametrize(
    ("status", "message"), [(404, "it does not exist"), (403, "it may not be read"), (401, "it may not be read")]
)
def test_a_missing_or_forbidden_file_is_not_tried_again(cache: Path, web: WebFolder, status: int, message: str) -> None:
    web.failures["/x"] = [status, status, 503]

    with pytest.raises(DataError, match=rf"^cannot fetch {web.address}/x: {message}"):
        fetch(f"{web.address}/x", cache)

    assert web.failures["/x"] == [503]


def test_nobody_answers(cache: Path) -> None:
    with serve(cache.parent) as web:
        address = web.address
    waits: list[float] = []

    with pytest.raises(DataError, match=rf"^cannot fetch {address}/x: .*\(tried 3 times\)$"):
        fetch(f"{address}/x", cache, attempts=3, sleep=waits.append)

    assert len(waits) == 2


def test_a_driver_that_is_not_installed(cache: Path) -> None:
    with pytest.raises(
        DataError, match=r"^s3://b/x needs a package that is not installed; install it: pip install s3fs$"
    ):
        fetch("s3://b/x", cache)


def test_a_scheme_that_does_not_exist(cache: Path) -> None:
    with pytest.raises(DataError, match=r"^htp://b/x is not an address that can be read: Protocol not known: htp$"):
        fetch("htp://b/x", cache)


def test_what_is_local_is_not_copied(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "x").write_text("content")

    assert fetch(f"file://{tmp_path}/x", cache) == tmp_path / "x"
    assert fetch(str(tmp_path / "x"), cache, revalidate=True) == tmp_path / "x"
    assert not cache.exists()


def test_a_file_in_a_file(tmp_path: Path, cache: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("photos/a.jpg", b"picture")
    address = f"zip://photos/a.jpg::file://{tmp_path}/all.zip"

    assert fetch(address, cache).read_bytes() == b"picture"
    assert list_folder(f"zip://photos::file://{tmp_path}/all.zip").files == [address]


def test_a_folder_is_not_a_file(cache: Path) -> None:
    fsspec.filesystem("memory").pipe("/test_a_folder/x", b"1")

    with pytest.raises(DataError, match="cannot fetch memory:///test_a_folder: it is a folder"):
        fetch("memory:///test_a_folder", cache)


@pytest.mark.parametrize(
    "name", ["..", "a/../../b", "x" * 300 + ".tar", "-rf", "a\\b", "con:x", ".hidden", "Ä?.jpg", "%2e%2e%2fetc"]
)
def test_copies_never_leave_the_cache(cache: Path, name: str) -> None:
    for scheme in ("s3://bucket/", "http://host/"):
        copy = copy_path(scheme + name, cache)

        assert copy.parent.parent == cache / "remote"
        assert len(copy.name) <= 100
        assert copy.resolve().is_relative_to(cache.resolve())


def test_different_addresses_have_different_copies(cache: Path) -> None:
    addresses = ["s3://a/x.jpg", "s3://b/x.jpg", "s3://a/X.jpg", "http://a/x.jpg?v=1", "http://a/x.jpg?v=2"]

    assert len({str(copy_path(address, cache)).lower() for address in addresses}) == len(addresses)


def _fetch_in_process(address: str, cache: Path, ready: object, path: object) -> None:
    ready.wait()  # type: ignore[attr-defined]
    path.put(str(fetch(address, cache)))  # type: ignore[attr-defined]


def test_processes_that_want_the_same_file_at_once(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    content = os.urandom(5_000_000)
    (tmp_path / "served" / "x").write_bytes(content)
    context = multiprocessing.get_context("spawn")
    ready, paths = context.Barrier(3), context.Queue()
    processes = [
        context.Process(target=_fetch_in_process, args=(f"{web.address}/x", cache, ready, paths)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    found = {paths.get(timeout=60) for _ in processes}
    for process in processes:
        process.join()

    assert len(found) == 1
    assert Path(found.pop()).read_bytes() == content
    assert web.gets["/x"] == 1
    assert temporary_files(cache) == []


def test_a_process_that_is_killed_leaves_no_half_copy(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    (tmp_path / "served" / "x").write_bytes(b"x" * 1000)
    script = textwrap.dedent("""
        import os, sys
        from pathlib import Path
        from fsspec.implementations.http import HTTPFileSystem
        from classifier_training.data.sources.remote import fetch

        def die(self, remote, local, **options):
            Path(local).write_bytes(b"half")
            os._exit(9)

        HTTPFileSystem.get_file = die
        fetch(sys.argv[1], Path(sys.argv[2]))
    """)
    command = [sys.executable, "-c", script, f"{web.address}/x", str(cache)]
    assert subprocess.run(command, check=False).returncode == 9
    assert len(temporary_files(cache)) == 1
    assert not copy_path(f"{web.address}/x", cache).exists()

    assert fetch(f"{web.address}/x", cache).read_bytes() == b"x" * 1000
    assert temporary_files(cache) == []


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="this user may write everywhere")
def test_a_read_only_cache(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    (tmp_path / "served" / "x").write_text("content")
    cache.mkdir()
    cache.chmod(0o555)

    with pytest.raises(DataError, match=rf"^the cache folder {cache} cannot be written: .*data\.cache_dir"):
        fetch(f"{web.address}/x", cache)


def test_a_cache_that_is_not_a_folder(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    (tmp_path / "served" / "x").write_text("content")
    cache.write_text("")

    with pytest.raises(DataError, match=rf"^the cache folder {cache} cannot be written: .*data\.cache_dir"):
        fetch(f"{web.address}/x", cache)


def test_a_full_cache(tmp_path: Path, cache: Path, web: WebFolder) -> None:
    (tmp_path / "served" / "x").write_bytes(b"x" * 100_000)
    script = textwrap.dedent("""
        import resource, sys
        from pathlib import Path
        from classifier_training.data.sources.remote import fetch
        from classifier_training.errors import DataError

        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            fetch(sys.argv[1], Path(sys.argv[2]))
        except DataError as error:
            sys.exit(str(error))
    """)
    done = subprocess.run(
        [sys.executable, "-c", script, f"{web.address}/x", str(cache)], capture_output=True, text=True, check=False
    )

    assert done.stderr.startswith(f"the cache folder {cache} is full: File too large; make room")
    assert web.gets["/x"] == 1
    assert temporary_files(cache) == []


def test_listing_a_web_folder(tmp_path: Path, web: WebFolder) -> None:
    for name in ("b/2.jpg", "b/1.jpg", "é c/x.jpg", "top.txt", ".hidden/x.jpg", "b/.x"):
        path = tmp_path / "served" / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")

    for root in (f"{web.address}/root", f"{web.address}/root/"):
        entries = list_folder(root)
        assert entries.files == [f"{web.address}/root/top.txt"]
        assert entries.folders == [f"{web.address}/root/b", f"{web.address}/root/%C3%A9%20c"]
        assert list_remote(root) == [
            f"{web.address}/root/{name}" for name in ("top.txt", "b/1.jpg", "b/2.jpg", "%C3%A9%20c/x.jpg")
        ]


def test_listing_sees_what_is_new() -> None:
    memory = fsspec.filesystem("memory")
    memory.pipe("/test_new/a/1.jpg", b"1")
    assert list_remote("memory:///test_new") == ["memory:///test_new/a/1.jpg"]

    memory.pipe("/test_new/a/2.jpg", b"2")

    assert list_remote("memory:///test_new/") == ["memory:///test_new/a/1.jpg", "memory:///test_new/a/2.jpg"]


def test_listing_a_missing_folder(web: WebFolder) -> None:
    for address in (f"{web.address}/nowhere", "memory:///nowhere"):
        with pytest.raises(DataError, match=rf"^cannot list {address}: it does not exist$"):
            list_folder(address)
