"""Uploaded files: what they are, and the one sentence for each that cannot be used."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import json
import lzma
import stat
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.data import archives
from shared.data.inspect import UploadError, inspect_upload, read_upload
from shared.data.readers import TEXT_PIECE, Skipped


def put(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(content)
    return path


def texts(path: Path, kind: str, column: str = "text") -> list[str]:
    return list(read_upload(path, kind, column, Skipped()))


def parquet(table: pa.Table, **options: int) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, **options)
    return buffer.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes], links: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
        for link in links:
            archive.addfile(link)
    return buffer.getvalue()


SOURCES = {
    "src/a.lua": b"local x = 1\n",
    "src/b.py": "é = 2\n".encode(),
    "logo.png": b"\x89PNG\0\0\0",
    "latin.txt": "caf\xe9".encode("latin-1"),
}
WANT = ["local x = 1\n", "é = 2\n"]


# ------------------------------------------------------------------------- what is read


def test_jsonl_gives_the_text_of_every_line_and_skips_empty_lines(tmp_path: Path) -> None:
    content = "\ufeff" + '{"text": "one"}\n\n{"text": "zwei ü", "n": 1}\r\n{"text": null}'
    path = put(tmp_path, "a", content.encode())
    skipped = Skipped()
    assert list(read_upload(path, "jsonl", "text", skipped)) == ["one", "zwei ü"]
    assert skipped == {"empty": 2}
    info = inspect_upload(path, "a.jsonl")
    assert (info.format, info.rows, info.bytes) == ("jsonl", 2, path.stat().st_size)
    assert info.digest == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_parquet_gives_the_text_column_over_all_row_groups(
    tmp_path: Path, kind: pa.DataType
) -> None:
    want = [f"text {number}" for number in range(1000)]
    table = pa.table({"n": range(1000), "content": pa.array(want).cast(kind)})
    path = put(tmp_path, "a", parquet(table, row_group_size=70))
    assert texts(path, "parquet", "content") == want
    assert inspect_upload(path, "a.parquet", "content").rows == 1000


def test_text_is_cut_at_blank_lines_and_nothing_is_lost(tmp_path: Path) -> None:
    content = "".join(f"paragraph {number} é\nsecond line\r\n\n" for number in range(3000))
    path = put(tmp_path, "a", content.encode())
    found = texts(path, "text")
    assert "".join(found) == content
    assert all(text.endswith("\n\n") for text in found)
    assert all(TEXT_PIECE <= len(text) < 2 * TEXT_PIECE for text in found[:-1])
    assert inspect_upload(path, "novel.txt").rows == len(found)


def test_text_without_any_line_end_is_read_in_pieces(tmp_path: Path) -> None:
    content = "word " * 100_000
    found = texts(put(tmp_path, "a", content.encode()), "text")
    assert "".join(found) == content
    assert max(map(len, found)) <= 8 * TEXT_PIECE


def test_a_zip_gives_its_text_files_and_counts_the_others(tmp_path: Path) -> None:
    path = put(tmp_path, "a", zipped(SOURCES))
    skipped = Skipped()
    assert list(read_upload(path, "zip", "text", skipped)) == WANT
    assert skipped == {"binary": 1, "not UTF-8": 1}
    assert inspect_upload(path, "code.zip").rows == 2


@pytest.mark.parametrize("pack", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_tar_gives_its_text_files_however_it_is_compressed(
    tmp_path: Path, pack: type[bytes]
) -> None:
    folder = tarfile.TarInfo("src")
    folder.type = tarfile.DIRTYPE
    long = {"d" * 90 + "/" + "n" * 120 + ".py": b"y = 1\n"}
    path = put(tmp_path, "a", pack(tarred(SOURCES | long, (folder,))))
    assert texts(path, "tar") == [*WANT, "y = 1\n"]
    assert inspect_upload(path, "code.tar.gz").format == "tar"


def test_a_long_file_in_an_archive_is_cut_and_a_short_one_stays_whole(tmp_path: Path) -> None:
    long = "x = 1\n\n" * 250_000
    path = put(tmp_path, "a", zipped({"long.py": long.encode(), "short.py": b"a\n\nb\n"}))
    found = texts(path, "zip")
    assert "".join(found[:-1]) == long
    assert len(found) == 3
    assert found[-1] == "a\n\nb\n"


def test_a_tokenizer_json_is_recognised(tmp_path: Path) -> None:
    content = json.dumps({"version": "1.0", "model": {"type": "BPE", "vocab": {}, "merges": []}})
    info = inspect_upload(put(tmp_path, "a", content.encode()), "my-tokenizer")
    assert (info.format, info.rows) == ("tokenizer", None)


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", ["", "\n"])
def test_a_tokenizer_json_may_be_one_line_or_many(
    tmp_path: Path, indent: int | None, end: str
) -> None:
    content = json.dumps({"model": {"vocab": {"a": 0}}}, indent=indent) + end
    assert inspect_upload(put(tmp_path, "a", content.encode()), "t").format == "tokenizer"


def test_jsonl_is_told_from_a_tokenizer_by_its_first_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_: Path) -> bytes:
        raise AssertionError("the whole file was read into memory")

    path = put(tmp_path, "a", b'{"text": "one", "model": {"vocab": {}}}\n' * 3)
    monkeypatch.setattr(Path, "read_bytes", never)
    assert inspect_upload(path, "a").format == "jsonl"


def test_the_name_that_the_file_had_tells_text_from_jsonl(tmp_path: Path) -> None:
    path = put(tmp_path, "a", b'{"text": "one"}\n')
    assert inspect_upload(path, "corpus").format == "jsonl"
    assert inspect_upload(path, "corpus", filename="x.TXT").format == "text"
    assert inspect_upload(path, "corpus", filename="x.TXT").name == "corpus"


def test_a_digest_that_is_known_is_not_computed_again(tmp_path: Path) -> None:
    path = put(tmp_path, "a", b'{"text": "one"}\n')
    assert inspect_upload(path, "a", digest="known").digest == "known"


# ---------------------------------------------------------------------- what is refused


def test_a_file_of_another_format_than_it_was_sent_as_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path, "a", b'{"text": "one"}\n')
    assert inspect_upload(path, "a", formats=("text", "jsonl")).format == "jsonl"
    with pytest.raises(UploadError, match=r"^a: was sent as zip but its content is jsonl$"):
        inspect_upload(path, "a", formats=("zip",))


GOOD_LINE = b'{"text": "fine"}\n'
BAD_FILES = {
    "no JSON": ("a.jsonl", GOOD_LINE * 2 + b"{oops}\n", "a.jsonl: line 3 is not JSON: "),
    "cut line": ("a.jsonl", GOOD_LINE + b'{"text": "fi', "a.jsonl: line 2 is not JSON: "),
    "no object": ("a.jsonl", GOOD_LINE + b"[1]\n", "line 2 is not a JSON object"),
    "no column": ("a.jsonl", b'{"body": "x", "id": 1}\n', "has no field 'text', only body, id"),
    "number": ("a.jsonl", b'{"text": 3}\n', "field 'text' of line 1 is not text but int"),
    "bytes": ("a.jsonl", GOOD_LINE + b'{"text": "\xff"}\n', "line 2 is not valid UTF-8 (byte 10"),
    "surrogate": ("a.jsonl", b'{"text": "\\ud800"}\n', "field 'text' of line 1 holds half"),
    "nested": ("a.jsonl", b'{"text": ' + b"[" * 200_000, "line 1 is not JSON that can be read"),
    "endless": ("a.jsonl", b'{"text": ' + b"1" * 5000 + b"}", "is not JSON that can be read"),
    "utf-16": ("a.jsonl", '{"text": "x"}'.encode("utf-16"), "line 1 is not valid UTF-8"),
    "0 bytes": ("a.jsonl", b"", "a.jsonl: is empty (0 bytes)"),
    "blank": ("a.txt", b" \n\n", "a.txt: holds no text"),
    "null": ("a.jsonl", b'{"text": null}\n', "a.jsonl: holds no text (1 empty)"),
    "latin-1": ("a.txt", b"one\ntwo\ncaf\xe9\n", "is not valid UTF-8 at or soon after line"),
    "binary": ("a.txt", b"one\n\0\0\n", "line 2 holds a zero byte, so this is not a text file"),
    "no parquet": ("a.parquet", b"hello", "is called .parquet but its content is not parquet"),
    "no zip": ("a.zip", b"hello", "is called .zip but its content is not zip"),
    "gzip": ("a.jsonl.gz", gzip.compress(GOOD_LINE * 100), "is not a whole tar archive: "),
    "only binary": ("a.zip", zipped({"a": b"\0"}), "holds no text (1 binary)"),
    "empty zip": ("a.zip", zipped({}), "holds no text"),
    "up zip": ("a.zip", zipped({"../../etc/passwd": b"x"}), "leads out of the archive"),
    "root zip": ("a.zip", zipped({"/etc/passwd": b"x"}), "'/etc/passwd', which leads out"),
    "drive zip": ("a.zip", zipped({"C:\\x": b"x"}), "leads out of the archive"),
    "back zip": ("a.zip", zipped({"a\\..\\..\\x": b"x"}), "leads out of the archive"),
    "up tar": ("a.tar", tarred({"a/../../x": b"x"}), "'a/../../x', which leads out of the archive"),
    "bomb zip": ("a.zip", zipped({"a": b"a" * 50_000_000}), "unpacks to more than 16777216 bytes"),
    "bomb tar": ("a.tgz", gzip.compress(tarred({"a": b"a" * 50_000_000})), "unpacks to more than"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    name, content, sentence = BAD_FILES[case]
    with pytest.raises(UploadError) as refused:
        inspect_upload(put(tmp_path, name, content), name)
    assert str(refused.value).startswith(f"{name}: ")
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("keep", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_parquet_file_is_refused(keep: float, tmp_path: Path) -> None:
    content = parquet(pa.table({"text": [f"text {number}" for number in range(5000)]}))
    path = put(tmp_path, "a", content[: int(keep * len(content))])
    with pytest.raises(UploadError, match=r"a\.parquet: is not a whole Parquet file: "):
        inspect_upload(path, "a.parquet")


def test_a_parquet_file_with_damaged_pages_is_refused(tmp_path: Path) -> None:
    content = bytearray(parquet(pa.table({"text": [f"text {n}" * 9 for n in range(5000)]})))
    content[2000:4000] = b"\xff" * 2000
    with pytest.raises(UploadError, match=r"is not a whole Parquet file|is not valid UTF-8"):
        inspect_upload(put(tmp_path, "a", bytes(content)), "a.parquet")


def test_a_parquet_file_without_a_text_column_says_which_it_has(tmp_path: Path) -> None:
    path = put(tmp_path, "a", parquet(pa.table({"content": ["x"], "n": [1]})))
    with pytest.raises(UploadError, match="has no column 'text', only content, n"):
        inspect_upload(path, "a.parquet")
    with pytest.raises(UploadError, match="column 'n' holds int64, not text"):
        inspect_upload(path, "a.parquet", "n")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("keep", [0.3, 0.6])
def test_a_truncated_archive_is_refused(pack: type[bytes], keep: float, tmp_path: Path) -> None:
    files = {f"{n}.py": f"x = {n}\n".encode() * (900 + n) for n in range(20)}
    tar = pack(tarred(files))
    with pytest.raises(UploadError, match="is not a whole tar archive"):
        inspect_upload(put(tmp_path, "a", tar[: int(len(tar) * keep)]), "a.tar")
    packed = zipped(files)
    with pytest.raises(UploadError, match="is not a whole zip archive"):
        inspect_upload(put(tmp_path, "a", packed[: int(len(packed) * keep)]), "a.zip")


def test_a_tar_with_a_damaged_header_is_not_taken_for_a_shorter_one(tmp_path: Path) -> None:
    tar = bytearray(tarred({"a.py": b"a = 1\n", "b.py": b"b = 2\n"}))
    tar[1024:1100] = b"\xff" * 76
    with pytest.raises(UploadError, match="is damaged near byte 1536"):
        inspect_upload(put(tmp_path, "a", bytes(tar)), "a.tar")


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    entry = tarfile.TarInfo("evil")
    entry.type, entry.linkname = kind, "/etc/passwd"
    path = put(tmp_path, "a", tarred({"a.py": b"a = 1\n"}, (entry,)))
    with pytest.raises(UploadError, match="holds 'evil', which is a link, a device or sparse"):
        inspect_upload(path, "a.tar")


def test_a_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        entry = zipfile.ZipInfo("evil")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
    with pytest.raises(UploadError, match="holds 'evil', which is a link or a device"):
        inspect_upload(put(tmp_path, "a", buffer.getvalue()), "a.zip")


def test_a_tar_whose_header_claims_a_huge_extension_is_refused(tmp_path: Path) -> None:
    entry = tarfile.TarInfo("long")
    entry.type, entry.size = tarfile.XHDTYPE, 5 * 2**30
    content = entry.tobuf(tarfile.USTAR_FORMAT) + b"0" * 100_000
    with pytest.raises(UploadError, match="has a header of 5368709120 bytes"):
        inspect_upload(put(tmp_path, "a", content), "a.tar")


def test_a_zip_with_a_huge_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path, "a", zipped({f"{n}.py": b"x\n" for n in range(100)}))
    monkeypatch.setattr(archives, "MAX_ENTRIES", 50)
    with pytest.raises(UploadError, match="has more than 50 entries; use a tar archive"):
        inspect_upload(path, "a.zip")
    monkeypatch.setattr(archives, "MAX_ZIP_DIRECTORY", 1000)
    with pytest.raises(UploadError, match="has a directory of"):
        inspect_upload(path, "a.zip")
