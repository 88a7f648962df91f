"""The page of `data_tools.tools.stats` as HTML and PNG.

The HTML stands alone: the picture is inside it. Equal statistics give equal files.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from data_tools.rows.files import written_whole
from data_tools.stats.summary import Statistics

_BLUE = "#2f6f9f"
_MOST_GROUPS, _MOST_CHARS, _BINS = 15, 1200, 40
_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}img{max-width:100%}
table{border-collapse:collapse}td,th{padding:.2rem .8rem .2rem 0;text-align:right;border-bottom:1px solid #ddd}
td:first-child,th:first-child{text-align:left}
dl{border-left:3px solid #ddd;padding-left:1rem}dt{color:#777;font-size:.85rem}
dd{margin:0 0 .5rem;white-space:pre-wrap;overflow-wrap:anywhere}
"""


def write_page(page: Path, statistics: Statistics) -> None:
    """Write the page, and before it the picture beside it, each whole.

    Args:
        page: The HTML file; the picture gets the same name with .png.
        statistics: What was counted.
    """
    picture = to_png(draw_statistics(statistics))
    with written_whole(page.with_suffix(".png")) as temporary:
        temporary.write_bytes(picture)
    with written_whole(page) as temporary:
        temporary.write_text(render_page(statistics, picture), encoding="utf-8", errors="replace")


def to_png(figure: Figure) -> bytes:
    """Return a figure as PNG, the same bytes for the same figure."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=110, metadata={"Software": None})
    return stream.getvalue()


def render_page(statistics: Statistics, picture: bytes) -> str:
    """Return the HTML.

    Args:
        statistics: What was counted.
        picture: The PNG to put in.
    """
    summary = statistics.summary()
    measured = {f"{name}, characters": values for name, values in summary["chars"].items()}
    if "pass_rate" in summary:
        measured["pass rate"] = summary["pass_rate"]
    groups = {
        name: {"rows": n, "share": f"{n / statistics.rows:.1%}"} for name, n in statistics.groups.most_common(50)
    }
    source = base64.b64encode(picture).decode()
    body = [
        f"<h1>{statistics.rows:,} rows</h1>",
        f'<img alt="Histograms of lengths and pass rates, and rows by {escape(statistics.by)}" '
        f'src="data:image/png;base64,{source}">',
        *(["<h2>Numbers</h2>", _table(measured)] if measured else []),
        *([f"<h2>By {escape(statistics.by)}</h2>", _table(groups)] if groups else []),
        *(["<h2>Examples</h2>", *map(_example, statistics.examples)] if statistics.examples else []),
    ]
    head = f'<meta charset="utf-8"><title>{statistics.rows:,} rows</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(body) + "\n</body></html>\n"


def _table(lines: Mapping[str, Mapping[str, Any]]) -> str:
    names = list(next(iter(lines.values())))
    head = "".join(f"<th>{escape(name)}</th>" for name in ["", *names])
    cells = [
        "".join(f"<td>{escape(text)}</td>" for text in [name, *(_number(values[key]) for key in names)])
        for name, values in lines.items()
    ]
    return f"<table><tr>{head}</tr>" + "".join(f"<tr>{line}</tr>" for line in cells) + "</table>"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _example(row: Mapping[str, Any]) -> str:
    parts = [f"<dt>{escape(name)}</dt><dd>{escape(_cut(str(value)))}</dd>" for name, value in row.items()]
    return f"<dl>{''.join(parts)}</dl>"


def _cut(text: str) -> str:
    if len(text) <= _MOST_CHARS:
        return text
    return f"{text[: _MOST_CHARS // 2]} [... {len(text) - _MOST_CHARS:,} characters ...] {text[-_MOST_CHARS // 2 :]}"


def draw_statistics(statistics: Statistics) -> Figure:
    """Draw lengths, pass rates and groups, one panel for each that there is."""
    panels: list[tuple[str, Any]] = [(name, values) for name, values in statistics.lengths.items() if values]
    panels += [("pass rate", statistics.pass_rates)] if statistics.pass_rates else []
    panels += [("", statistics.groups)] if statistics.groups else []
    lines = max(1, (len(panels) + 1) // 2)
    figure = Figure(figsize=(9, 2.9 * lines), layout="constrained")
    for number, (name, values) in enumerate(panels, start=1):
        axes = figure.add_subplot(lines, min(2, len(panels)), number)
        axes.spines[["top", "right"]].set_visible(False)
        if values is statistics.groups:
            _draw_groups(axes, statistics)
        elif values is statistics.pass_rates:
            axes.hist(values, bins=[step / 20 for step in range(22)], color=_BLUE)  # the last bar is 1.0 alone
            axes.set(title="pass rate", ylabel="rows", xlim=(0, 1.05))
        else:
            _draw_lengths(axes, name, values)
    return figure


def _draw_lengths(axes: Any, name: str, values: Sequence[int]) -> None:
    """Draw a histogram up to the 99th percentile; what is longer is in the last bar."""
    end = max(1, sorted(values)[round(0.99 * (len(values) - 1))])
    axes.hist([min(value, end) for value in values], bins=min(_BINS, end), range=(0, end), color=_BLUE)
    mean = sum(values) / len(values)
    axes.axvline(min(mean, end), color="black", linewidth=1)
    axes.set(title=f"{name}: characters, mean {mean:,.0f}", ylabel="rows", xlabel=f"last bar: {end:,} and more")


def _draw_groups(axes: Any, statistics: Statistics) -> None:
    top = statistics.groups.most_common(_MOST_GROUPS)
    rest = statistics.groups.total() - sum(count for _, count in top)
    bars = [*top, *([(f"{len(statistics.groups) - len(top)} others", rest)] if rest else [])][::-1]
    axes.barh(range(len(bars)), [count for _, count in bars], color=_BLUE)
    axes.set_yticks(range(len(bars)), [_label(name) for name, _ in bars], fontsize=8)
    axes.set(title=f"rows by {_label(statistics.by)}")


def _label(name: str) -> str:
    """Return a name that matplotlib can draw: `$` would start maths, and surrogates have no glyph."""
    drawable = "".join(char if char.isprintable() else " " for char in name[:30])
    return drawable.replace("$", r"\$")
