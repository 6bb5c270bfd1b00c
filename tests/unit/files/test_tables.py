from __future__ import annotations

import csv
import os
import random
from pathlib import Path

import pyarrow.csv
import pytest

from classifier_training.files.tables import (
    TableError,
    escape,
    format_rows,
    read_columns,
    read_rows,
    unescape,
    write_table,
)

NASTY = (
    "",
    " ",
    " x ",
    "\t",
    "a\tb",
    ",",
    '"',
    '""',
    'a "quoted", name',
    "\n",
    "\r",
    "\r\n",
    "two\nlines",
    "a\rb",
    "\x00",
    "\x1b[31m",
    "\x85",
    "a\u2028b\u2029",
    "\ufeff",
    "\u00a0",
    "caf\udce9.jpg",
    "\udcff\udc80",
    "\ud83d\ude00",
    "😀 قطة 日本語",
    "\\",
    "\\\\",
    "\\n",
    r"C:\new\users\udo",
    r"\u000a",
    r"\u005c",
    r"\u005cu000a",
    r"\\u000a",
    "\\\n",
    "\\u00\n",
    "\\u\x00000a",
    r"\u000A",
    r"\x0a",
    "NA",
    "00",
    "1e3",
    "=1+1",
    "x" * 100_000,
)
ALPHABET = [*"\\u0ac,\"'\r\n\t x\x00\x7f\x85\u2028\ud83d\ude00\udce9é😀"]


def random_texts(number: int, seed: int) -> list[str]:
    generator = random.Random(seed)
    return ["".join(generator.choices(ALPHABET, k=generator.randrange(12))) for _ in range(number)]


@pytest.mark.parametrize("text", NASTY)
def test_a_text_is_one_printable_line_and_is_given_back(text: str) -> None:
    escaped = escape(text)

    assert unescape(escaped) == text
    assert len(escaped.splitlines()) <= 1
    assert escaped.encode().decode() == escaped


def test_any_mixture_of_backslashes_line_breaks_and_surrogates_is_given_back() -> None:
    texts = random_texts(50_000, seed=0)
    escaped = [escape(text) for text in texts]

    assert list(map(unescape, escaped)) == texts
    assert len(set(escaped)) == len(set(texts))
    assert all(len(text.splitlines()) <= 1 for text in escaped)


@pytest.mark.parametrize("text", ["photos/cat 1.jpg", "é 😀", r"C:\new\users", "\\", r"\n", r"\U000A", "a,b", 'a"b'])
def test_an_ordinary_name_stays_as_it_is(text: str) -> None:
    assert escape(text) == text


def test_every_byte_of_a_file_name_is_given_back() -> None:
    name = os.fsdecode(bytes(range(1, 256)).replace(b"/", b""))

    assert os.fsencode(unescape(escape(name))) == os.fsencode(name)


@pytest.mark.parametrize("seed", range(5))
def test_a_table_is_read_back_cell_by_cell(tmp_path: Path, seed: int) -> None:
    texts = [*NASTY, *random_texts(6_000, seed)]
    header = [(*NASTY[:4], "\ufeff")[seed], "second\rcolumn", "number"]
    rows = [[text, other, str(number)] for number, (text, other) in enumerate(zip(texts, reversed(texts), strict=True))]

    write_table(tmp_path / "new" / "table.csv", header, rows)

    assert list(read_rows(tmp_path / "new" / "table.csv")) == [header, *rows]
    assert len((tmp_path / "new" / "table.csv").read_bytes().splitlines()) == 1 + len(rows)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["table.csv"]


def test_other_programs_see_the_same_rows(tmp_path: Path) -> None:
    rows = [[text, "x"] for text in NASTY]
    write_table(tmp_path / "table.csv", ["name", "rest"], rows)

    with (tmp_path / "table.csv").open(encoding="utf-8", newline="") as file:
        assert [unescape(row["name"]) for row in csv.DictReader(file)] == list(NASTY)
    column = pyarrow.csv.read_csv(tmp_path / "table.csv").column("name").to_pylist()
    assert [unescape(name) for name in column] == list(NASTY)


def test_numbers_keep_all_their_digits(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ["a", "b"], [[1, 0.1 + 0.2], [-3, float("inf")]])

    assert (tmp_path / "table.csv").read_text() == "a,b\n1,0.30000000000000004\n-3,inf\n"


def test_rows_are_formatted_like_a_table(tmp_path: Path) -> None:
    rows: list[list[str | int]] = [["a,b", 1], ["\n", 2]]
    write_table(tmp_path / "table.csv", ["name", "number"], rows)

    assert "name,number\n" + format_rows(rows) == (tmp_path / "table.csv").read_text()


def test_an_interrupted_writer_leaves_the_old_file(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ["a"], [["old"]])

    def broken_off() -> list[list[str]]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_table(tmp_path / "table.csv", ["a"], (row for _ in range(1) for row in broken_off()))
    assert list(read_rows(tmp_path / "table.csv")) == [["a"], ["old"]]
    assert len(list(tmp_path.iterdir())) == 1


def test_columns_are_chosen_by_name(tmp_path: Path) -> None:
    write_table(tmp_path / "table.csv", ["a", "b\n", "c"], [["1", "2", "\n"], ["4", "5", "6"]])

    assert list(read_columns(tmp_path / "table.csv", ["c", "b\n"], ["d", "a"])) == [
        ("\n", "2", "", "1"),
        ("6", "5", "", "4"),
    ]
    with pytest.raises(TableError, match="lacks the column d, e"):
        list(read_columns(tmp_path / "table.csv", ["a", "d", "e"]))


def test_files_of_version_0_1_are_read(tmp_path: Path) -> None:
    path = tmp_path / "predictions.csv"
    path.write_bytes(b'file,true\n"two\nlines","a\rb"\ncaf\\udce9.jpg,"a ""b"""\nC:\\new,"a,b"\n')

    assert list(read_columns(path, ["file", "true"])) == [
        ("two\nlines", "a\rb"),
        ("caf\udce9.jpg", 'a "b"'),
        (r"C:\new", "a,b"),
    ]


def test_a_file_that_a_spreadsheet_saved_is_read(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes("\ufeffa,b\r\n1,\\ufeff\r\n".encode())

    assert list(read_rows(tmp_path / "table.csv")) == [["a", "b"], ["1", "\ufeff"]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"a,b\n1,2\n3\n", "has 1 cells in line 3 and not 2"),
        (b"a,b\n1,\xff\n", "is not UTF-8 text"),
        (b'a,b\n1,"2\n', "is not a CSV table: unexpected end of data"),
        (b'a,b\n1,"2"x\n', "is not a CSV table"),
    ],
)
def test_a_damaged_file_is_named_by_what_is_wrong(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "table.csv").write_bytes(content)

    with pytest.raises(TableError, match=message):
        list(read_rows(tmp_path / "table.csv"))
    with pytest.raises(TableError, match=message):
        list(read_columns(tmp_path / "table.csv", ["a"]))
    with pytest.raises(FileNotFoundError):
        list(read_rows(tmp_path / "missing.csv"))
