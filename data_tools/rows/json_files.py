"""JSON Lines and JSON arrays, plain or compressed, streamed.

An array is decoded element by element, so a 2 GB dump costs the memory of its largest row. A malformed line
can be skipped; broken JSON inside an array always stops, since where the next row starts is unknown.
"""

from __future__ import annotations

import gzip
import io
import json
import lzma
import math
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import zstandard

from data_tools.errors import DataToolsError
from data_tools.rows.row import Faults, Row, place_of

_CHUNK = 1 << 20
_BOM = b"\xef\xbb\xbf"
# What reading a torn or foreign compressed file raises.
_TORN = (EOFError, OSError, lzma.LZMAError, zstandard.ZstdError)


def read_json(path: Path, faults: Faults, *, lines: bool) -> Iterator[tuple[int, Row]]:
    """Yield (row number, row) of a JSON file.

    Args:
        path: The file; `.gz`, `.xz` and `.zst` are decompressed.
        faults: Receives malformed rows.
        lines: True for JSON Lines. False tells an array from lines by the first character, because many
            published `.json` files hold lines.

    Raises:
        DataToolsError: At a torn file, and at malformed rows unless `faults` skips them.
    """
    with _open_reader(path) as stream:
        try:
            is_array = not lines and stream.peek(1024).removeprefix(_BOM).lstrip().startswith(b"[")
            yield from _read_array(stream, faults) if is_array else _read_lines(stream, faults)
        except _TORN as error:
            raise DataToolsError(f"{path} after row {faults.number}: the file is torn ({error})") from error


def _open_reader(path: Path) -> io.BufferedReader:
    suffix = path.suffix.lower()
    raw: Any
    if suffix == ".gz":
        raw = gzip.GzipFile(path, "rb")
    elif suffix == ".xz":
        raw = lzma.LZMAFile(path, "rb")  # noqa: SIM115  closed with the reader
    elif suffix == ".zst":
        raw = _ZstdReader(path)
    else:
        raw = path.open("rb", buffering=0)
    return io.BufferedReader(raw, _CHUNK)


class _ZstdReader(io.RawIOBase):
    """The bytes of all frames of a Zstandard file; unlike `zstandard.open` it tells a torn frame from its end."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._frame = zstandard.ZstdDecompressor().decompressobj()
        self._begun = False  # whether the current frame has had any input
        self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while not self._ready:
            more = self._file.read(_CHUNK)
            if not more:
                if self._begun:
                    raise EOFError("compressed file ended before the end of a frame")
                return 0
            self._ready = self._decompress(more)
        size = min(len(target), len(self._ready))
        target[:size], self._ready = self._ready[:size], self._ready[size:]
        return size

    def _decompress(self, data: bytes) -> bytes:
        parts = []
        while data:
            parts.append(self._frame.decompress(data))
            self._begun = not self._frame.eof
            data = self._frame.unused_data if self._frame.eof else b""
            if self._frame.eof:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
        return b"".join(parts)

    def close(self) -> None:
        self._file.close()
        super().close()


def _read_lines(stream: io.BufferedReader, faults: Faults) -> Iterator[tuple[int, Row]]:
    """Yield (line number, row); blank lines are no rows but count as lines."""
    for number, line in enumerate(stream, start=1):
        faults.number = number
        if number == 1:
            line = line.removeprefix(_BOM)
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            text = line.decode("utf-8", "replace")  # its start tells a web page or a git-lfs pointer from a torn row
            faults.malformed(text, f"not valid JSON ({error}); it starts with {text[:40]!r}")
            continue
        if isinstance(row, dict):
            yield number, row
        else:
            faults.malformed(line.decode("utf-8", "replace"), f"expected an object, found {_kind(row)}")


def _read_array(stream: io.BufferedReader, faults: Faults) -> Iterator[tuple[int, Row]]:
    """Yield (position from 1, row): decode one element, then forget its text."""
    text = io.TextIOWrapper(stream, encoding="utf-8-sig")
    decoder = json.JSONDecoder()
    buffer, at = _skip(text, "", 0, " \t\r\n")
    at += 1  # the opening bracket
    try:
        while True:
            buffer, at = _skip(text, buffer, at, " \t\r\n,")
            if at >= len(buffer):
                raise DataToolsError(f"{faults.path} after row {faults.number}: the file is torn (no closing ])")
            if buffer[at] == "]":
                _refuse_more(text, buffer, at + 1, faults)
                return
            faults.number += 1
            row, buffer, at = _element(decoder, text, buffer, at, faults)
            if isinstance(row, dict):
                yield faults.number, row
            else:
                faults.malformed(str(row), f"expected an object, found {_kind(row)}")
    except UnicodeDecodeError as error:
        raise DataToolsError(f"{faults.path} after row {faults.number}: not UTF-8 ({error.reason})") from error


def _refuse_more(text: TextIO, buffer: str, at: int, faults: Faults) -> None:
    """Raise if anything but blanks follows the array: arrays written one after the other are not one file."""
    buffer, at = _skip(text, buffer, at, " \t\r\n")
    if at < len(buffer):
        more = buffer[at : at + 20]
        raise DataToolsError(f"{faults.path} after row {faults.number}: more text behind the closing ]: {more!r}")


def _skip(text: TextIO, buffer: str, at: int, characters: str) -> tuple[str, int]:
    """Move `at` behind any of `characters`, reading on where the buffer ends."""
    while True:
        while at < len(buffer) and buffer[at] in characters:
            at += 1
        if at < len(buffer):
            return buffer, at
        more = text.read(_CHUNK)
        if not more:
            return buffer, at
        buffer, at = more, 0


def _element(decoder: json.JSONDecoder, text: TextIO, buffer: str, at: int, faults: Faults) -> tuple[Any, str, int]:
    """Decode the element at `at`, reading on until it is whole; what was before it is forgotten."""
    size, ended = _CHUNK, False
    while True:
        try:
            row, end = decoder.raw_decode(buffer, at)
            if end < len(buffer) or ended:  # a number may go on in the next chunk
                return row, buffer, end
        except json.JSONDecodeError as error:
            # Text that merely stops is reported at its end, or at the start of the string that stays open.
            cut = "Unterminated string" in error.msg or error.pos > len(buffer) - 16
            if ended or not cut:
                raise faults.error(f"not valid JSON ({error.msg})") from error
        except (ValueError, RecursionError) as error:
            raise faults.error(f"not readable JSON ({error})") from error
        more = text.read(size)
        ended = not more
        buffer, at = buffer[at:] + more, 0
        size *= 2  # so that a huge row is decoded a logarithmic number of times


def _kind(value: object) -> str:
    names = {list: "an array", str: "a string", type(None): "null", bool: "a boolean"}
    return names.get(type(value), "a number")


class _JsonWriter:
    """Writes rows as lines or as one array."""

    def __init__(self, stream: TextIO, *, array: bool) -> None:
        self._stream, self._array, self._count = stream, array, 0

    def write(self, row: Row) -> None:
        if self._array:
            self._stream.write(("[\n" if self._count == 0 else ",\n") + to_json(row))
        else:
            self._stream.write(to_json(row) + "\n")
        self._count += 1

    def finish(self) -> None:
        if self._array:
            self._stream.write("[]\n" if self._count == 0 else "\n]\n")


@contextmanager
def open_json_writer(path: Path, suffix: str, *, array: bool) -> Iterator[_JsonWriter]:
    """Open `path` for rows, compressed as `suffix` (`.gz`, `.xz`, `.zst`, anything else plain) says.

    The bytes depend on the rows alone: no time stamp, no file name in the gzip header.
    """
    with (
        path.open("wb") as file,
        _compress(file, suffix) as packed,
        io.TextIOWrapper(packed, "utf-8", newline="\n") as stream,
    ):
        writer = _JsonWriter(stream, array=array)
        yield writer
        writer.finish()


@contextmanager
def _compress(file: BinaryIO, suffix: str) -> Iterator[Any]:
    if suffix == ".gz":
        with gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0) as packed:
            yield packed
    elif suffix == ".xz":
        with lzma.LZMAFile(file, "wb", preset=3) as packed:
            yield packed
    elif suffix == ".zst":
        with zstandard.ZstdCompressor(level=6).stream_writer(file, closefd=False) as packed:
            yield packed
    else:
        yield cast(Any, io.BufferedWriter(_Unclosed(file), _CHUNK))


class _Unclosed(io.RawIOBase):
    """Passes bytes to a file that its owner closes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._file.write(data)


def to_json(row: Row) -> str:
    """Return a row as one line of JSON; NaN becomes null.

    Raises:
        DataToolsError: For an infinite number or a type that JSON cannot hold.
    """
    try:
        text = json.dumps(row, ensure_ascii=False, allow_nan=False, default=_plain)
        text.encode("utf-8")
        return text
    except UnicodeEncodeError:  # a lone surrogate, legal in JSON only as an escape
        return json.dumps(_without_nan(row), default=_plain)
    except ValueError:
        return _finite_json(row)
    except (TypeError, RecursionError) as error:
        raise DataToolsError(f"{place_of(row)}: cannot be written as JSON ({error})") from error


def _finite_json(row: Row) -> str:
    try:
        return json.dumps(_without_nan(row), ensure_ascii=False, allow_nan=False, default=_plain)
    except ValueError as error:
        raise DataToolsError(f"{place_of(row)}: holds an infinite number, which JSON cannot") from error


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value


def _plain(value: object) -> str:
    """Turn the non-JSON types that Parquet files hold into text."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a value of type {type(value).__name__}")
