"""The rollout store: every sampled completion once, appended as one line of JSON.

Pass rates, preference pairs and evaluation read the same store, so nothing is sampled twice, and a run that
was killed goes on where it stopped. A line holds at least `prompt_id` and `sample_index`; the samplers also
write `model`, `sampler`, `seed`, `completion`, `completion_ids`, `finished` (ended by itself, not by the
length limit), `n_tokens`, `correct`, `outcome` and `reason` (the verdict). One process writes a store at a
time.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from data_tools.errors import DataToolsError
from data_tools.rows.columns import text
from data_tools.rows.json_files import to_json
from data_tools.rows.row import Row

Key = tuple[str, int, Any, Any, Any]


def prompt_id(row: Row) -> str:
    """Return 16 hex digits that stand for the problem text of a row.

    They depend on the text alone (blanks at its ends aside), so a store outlives reordering and new columns.
    """
    return hashlib.sha256(text(row, "problem").strip().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def rollout_key(record: Row) -> Key:
    """Return what makes a sample the same sample: prompt, index, model, sampler and seed."""
    try:
        prompt, index = record["prompt_id"], record["sample_index"]
    except KeyError as error:
        raise DataToolsError(f"a rollout needs {error.args[0]}; it has {', '.join(sorted(record))}") from None
    return prompt, index, record.get("model"), record.get("sampler"), record.get("seed")


def read_rollouts(path: str | Path, *, model: str | None = None, sampler: str | None = None) -> Iterator[Row]:
    """Yield the rollouts of a store that another process may be writing; a torn last line is left out.

    Args:
        path: The JSONL file.
        model: Only rollouts of this model.
        sampler: Only rollouts of this sampler.

    Raises:
        DataToolsError: If there is no such file, or a line is not a rollout.
    """
    if not Path(path).exists():
        raise DataToolsError(f"{path}: no such file")
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, start=1):
            record = _parse(line)
            if record is None:
                if not line.endswith(b"\n"):
                    return
                raise DataToolsError(f"{path} row {number}: not a rollout")
            if model in (None, record.get("model")) and sampler in (None, record.get("sampler")):
                yield record


class RolloutStore:
    """An append-only JSONL file of rollouts.

    Opening cuts off a last line that a crash has torn; how many bytes went is in `torn_bytes`.

    Args:
        path: The file. It is made, with its folder, when it does not exist.

    Raises:
        DataToolsError: If a line other than the last is not a rollout.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.torn_bytes = self._cut_torn_tail()
        self._keys = {rollout_key(record) for record in self.read()}

    def __len__(self) -> int:
        return len(self._keys)

    def append(self, records: Iterable[Row]) -> int:
        """Write rollouts, one line each, through to the disk.

        Args:
            records: Rollouts. One that is already stored (same prompt, index, model, sampler, seed) is not
                written again, so a resumed run may send a whole batch again.

        Returns:
            How many were new.
        """
        lines = []
        for record in records:
            key = rollout_key(record)
            if key not in self._keys:
                self._keys.add(key)
                lines.append(to_json(record) + "\n")
        if lines:
            with self.path.open("ab") as file:
                file.write("".join(lines).encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
        return len(lines)

    def done(self, *, model: str | None = None, sampler: str | None = None) -> set[tuple[str, int]]:
        """Return (prompt_id, sample_index) of what is stored.

        Args:
            model: Only rollouts of this model.
            sampler: Only rollouts of this sampler.
        """
        return {
            (prompt, index)
            for prompt, index, of_model, of_sampler, _ in self._keys
            if model in (None, of_model) and sampler in (None, of_sampler)
        }

    def read(self, *, model: str | None = None, sampler: str | None = None) -> Iterator[Row]:
        """Yield the rollouts in the order they were written.

        Args:
            model: Only rollouts of this model.
            sampler: Only rollouts of this sampler.

        Raises:
            DataToolsError: If a line is not a rollout.
        """
        if self.path.exists():
            yield from read_rollouts(self.path, model=model, sampler=sampler)

    def _cut_torn_tail(self) -> int:
        """Make the file end with a whole line; return the number of bytes cut off."""
        if not self.path.exists():
            return 0
        with self.path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            start = _last_line_start(file, size)
            file.seek(start)
            tail = file.read()
            if not tail or tail.endswith(b"\n"):
                return 0
            if _parse(tail) is not None:  # only its line end is missing
                file.write(b"\n")
                return 0
            file.truncate(start)
            return size - start


def _last_line_start(file: Any, size: int) -> int:
    """Return where the last line starts that has any bytes; read backwards in blocks."""
    position = size
    while position > 0:
        block_start = max(0, position - 65_536)
        file.seek(block_start)
        block = file.read(position - block_start)
        at = block.rfind(b"\n", 0, len(block) - (position == size))
        if at >= 0:
            return block_start + at + 1
        position = block_start
    return 0


def _parse(line: bytes) -> Row | None:
    """Return the rollout on a line, or None if it is none."""
    try:
        record = json.loads(line)
    except ValueError:
        return None
    if isinstance(record, dict) and {"prompt_id", "sample_index"} <= record.keys():
        return record
    return None
