"""Chunks in processes: the order of the rows, a bounded read-ahead, a plain error when a process dies."""

from __future__ import annotations

from functools import partial

import pytest

from data_tools.engine.pool import map_chunks
from data_tools.errors import DataToolsError
from tests.data_tools.sample_tools import check_chunk

CHECK = partial(check_chunk, max_chars=3)


def test_results_come_in_order_and_reading_stays_close_ahead():
    drawn = 0

    def source():
        nonlocal drawn
        for n in range(400):
            drawn = n
            yield {"problem": "x" * (n % 5), "n": n}

    results = map_chunks(CHECK, source(), workers=2, chunk=10)
    first = next(results)
    assert first["n"] == 0 and drawn < 100
    numbers = [result["n"] if isinstance(result, dict) else result.row["n"] for result in results]
    assert numbers == list(range(1, 400))


def test_a_dead_process_is_an_error_that_says_so():
    with pytest.raises(DataToolsError, match="a worker process died"):
        list(map_chunks(CHECK, [{"problem": "die"}], workers=1, chunk=1))
