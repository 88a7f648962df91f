"""No test is silently left out: a skip names the hardware, the optional package or the data that it needs."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from tests.shared import ROOT

SKIPPING = {"skip", "skipif", "skipTest", "SkipTest", "importorskip", "xfail"}
# What `pip install -e .[dev]` on a machine without a GPU does not give.
MISSING = re.compile(r"\b(GPU|ray|bitsandbytes|vLLM|DeepSpeed|transformers\[serving\]|shared file)(?!\w)", re.I)


def skips(source: str) -> Iterator[tuple[int, str]]:
    """The line of each skip in a module, and the texts that it is called with."""
    tree = ast.parse(source)
    texts = {
        call.func: " ".join(str(node.value) for node in ast.walk(call) if isinstance(node, ast.Constant))
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
    }
    for node in ast.walk(tree):
        names = {"attr", "id", "name"} & set(node._fields)
        if any(getattr(node, name) in SKIPPING for name in names):
            yield getattr(node, "lineno", 0), texts.get(node, "")


def test_a_skip_is_found_however_it_is_written():
    for source in (
        "import pytest\njson = pytest.importorskip('json')",
        "import pytest\n\n@pytest.mark.skip\ndef test(): ...",
        "import pytest\npytestmark = pytest.mark.skipif(True, reason='an array of reasons')",
        "from pytest import skip\nskip('slow today')",
        "import unittest\nraise unittest.SkipTest('later')",
    ):
        assert [text for _, text in skips(source) if not MISSING.search(text)], source


def test_tests_are_skipped_for_missing_hardware_packages_and_data_only():
    unjustified = [
        f"{path.relative_to(ROOT)}:{line}: {text}"
        for path in sorted((ROOT / "tests").rglob("*.py"))
        for line, text in skips(path.read_text("utf-8"))
        if not MISSING.search(text)
    ]
    assert not unjustified, "\n".join(unjustified)
