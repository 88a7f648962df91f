"""The page shows what was counted, and nothing in a row can break it."""

from __future__ import annotations

from array import array
from collections import Counter
from html.parser import HTMLParser

from data_tools.stats.charts import draw_statistics, render_page, to_png, write_page
from data_tools.stats.summary import Statistics
from tests.shared import killed_before_the_rename


def counted(**more):
    found = Statistics({"problem": array("I", [5, 7, 900])}, by="source", rows=3)
    found.groups.update({"aime $x$ <b>": 2, "gsm8k": 1})
    found.pass_rates.extend([0.0, 0.5, 1.0])
    found.examples = [{"problem": "1 < 2 & <script>alert(1)</script>", "answer": "$\\frac{1}{2}$", **more}]
    return found


class Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text = Counter(), ""

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1

    def handle_data(self, data):
        self.text += data + "\n"


def test_the_page_holds_numbers_groups_and_examples_as_text():
    page = Texts()
    page.feed(render_page(counted(solution="s" * 5000), b"png"))
    assert page.tags["script"] == 0 and page.tags["img"] == 1 and page.tags["table"] == 2
    for words in ("3 rows", "1 < 2 & <script>alert(1)</script>", "aime $x$ <b>", "66.7%", "3,800 characters"):
        assert words in page.text


def test_equal_statistics_give_equal_files(tmp_path):
    for name in ("a", "b"):
        write_page(tmp_path / name / "page.html", counted())
    for file in ("page.html", "page.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_a_killed_writer_leaves_the_old_page(tmp_path):
    page = tmp_path / "page.html"
    page.write_text("old")
    code = f"""
from pathlib import Path
from data_tools.stats.charts import write_page
from data_tools.stats.summary import Statistics
write_page(Path({str(page)!r}), Statistics({{}}, by="source"))
"""
    killed_before_the_rename(page, code)
    assert page.read_text() == "old"


def test_every_panel_is_there_and_only_those():
    titles = [axes.get_title() for axes in draw_statistics(counted()).axes]
    assert titles == ["problem: characters, mean 304", "pass rate", "rows by source"]
    (rates,) = [axes for axes in draw_statistics(counted()).axes if axes.get_title() == "pass rate"]
    heights = [bar.get_height() for bar in rates.patches]
    assert heights[0] == heights[-1] == 1
    assert draw_statistics(Statistics({}, by="source")).axes == []
    to_png(draw_statistics(Statistics({"problem": array("I", [0])}, by="source", rows=1)))
