"""Blocks of a report and their two renderings: Markdown beside its images, and one self-contained HTML file."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;display:block;overflow-x:auto}"
    "th,td{padding:.3rem .7rem;border-bottom:1px solid #ddd;text-align:right}"
    "th:first-child,td:first-child{text-align:left}img{max-width:100%}"
    "pre{background:#f6f6f6;padding:.7rem;white-space:pre-wrap;overflow-wrap:anywhere}"
)


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of level 1 to 3."""

    text: str
    level: int = 2


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of plain text."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Image:
    """A PNG file with its title."""

    title: str
    path: Path


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Text as it is, below a line that says what it is."""

    caption: str
    text: str


Block = Heading | Paragraph | Table | Image | Verbatim


def markdown(blocks: Sequence[Block], root: Path) -> str:
    """Return blocks as Markdown; pictures are linked relative to `root`."""
    return "\n\n".join(_markdown(block, root) for block in blocks) + "\n"


def _markdown(block: Block, root: Path) -> str:
    match block:
        case Heading(text, level):
            return f"{'#' * level} {text}"
        case Paragraph(text):
            return text
        case Table(header, rows):
            return "\n".join(table_lines(header, rows))
        case Image(title, path):
            return f"![{title}]({path.relative_to(root).as_posix()})"
        case Verbatim(caption, text):
            fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
            return f"{caption}\n\n{fence}\n{text}\n{fence}"


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table that is Markdown and reads well as text too."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (header, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def page(title: str, blocks: Sequence[Block]) -> str:
    """Return blocks as one HTML page that needs no other file."""
    body = "\n".join(_html(block) for block in blocks)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _html(block: Block) -> str:
    match block:
        case Heading(text, level):
            return f"<h{level}>{html.escape(text)}</h{level}>"
        case Paragraph(text):
            return f"<p>{html.escape(text)}</p>"
        case Table(header, rows):
            head = "".join(f"<th>{html.escape(cell)}</th>" for cell in header)
            body = "".join("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in row) + "</tr>" for row in rows)
            return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        case Image(title, path):
            data = base64.b64encode(path.read_bytes()).decode()
            name = html.escape(title)
            return f'<h3>{name}</h3><img alt="{name}" src="data:image/png;base64,{data}">'
        case Verbatim(caption, text):
            return f"<p>{html.escape(caption)}</p><pre>{html.escape(text)}</pre>"
