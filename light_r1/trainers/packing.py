"""A padded batch as one packed row: each distinct prompt once, behind it its completions.

Every token has the position that it has in its own sequence. A completion starts with a copy of the last prompt token,
which predicts its first token, so that every packed position has at most one label.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

IGNORED = -100


@dataclass(frozen=True, slots=True)
class PackedRow:
    """Rows of a padded batch, packed.

    Args:
        input_ids: Tokens, `(1, L)`.
        position_ids: Position of each token in its own sequence, `(1, L)`.
        shift_labels: Token that each position predicts, -100 where none is scored, `(1, L)`.
        segments: For each segment its start and end and those of the prompt segment it continues, `(1, 1, S, 4)`,
            int64. They follow each other without a gap.
        slots: Packed positions that are scored, `(N,)`.
        cells: Where each of them belongs in the flattened `(B, T - 1)` output, `(N,)`.
    """

    input_ids: torch.Tensor
    position_ids: torch.Tensor
    shift_labels: torch.Tensor
    segments: torch.Tensor
    slots: torch.Tensor
    cells: torch.Tensor

    def to(self, device: torch.device | str) -> PackedRow:
        """Return the same on another device."""
        return PackedRow(*(getattr(self, name).to(device, non_blocking=True) for name in self.__dataclass_fields__))


def pack_rows(input_ids: torch.Tensor, attention_mask: torch.Tensor, labels: torch.Tensor) -> PackedRow:
    """Pack a padded batch, each distinct prompt once.

    A row's prompt is what precedes its first label; padding may be on either side. Tokens behind the last label
    influence nothing and are left out.

    Args:
        input_ids: `(B, T)`.
        attention_mask: 1 for tokens, 0 for padding, `(B, T)`.
        labels: Tokens to score, -100 elsewhere, `(B, T)`, not shifted.
    """
    packer = _Packer(width=input_ids.size(1) - 1)
    groups: dict[tuple[int, ...], list[_Row]] = {}
    for index, (ids, mask, wanted) in enumerate(zip(input_ids.cpu(), attention_mask.cpu(), labels.cpu(), strict=True)):
        columns = mask.nonzero().flatten()
        ids, wanted = ids[columns], wanted[columns]
        scored = (wanted != IGNORED).nonzero().flatten()
        scored = scored[scored > 0]  # nothing predicts the first token
        if len(scored):
            end = int(scored[-1]) + 1
            row = _Row(index, ids[:end], wanted[:end], columns[:end], prompt=int(scored[0]))
            groups.setdefault(tuple(ids[: row.prompt].tolist()), []).append(row)
    for rows in groups.values():
        shared = rows[0].prompt - 1 if len(rows) > 1 else 0
        if shared:
            prefix = packer.add_prefix(rows[0].ids[:shared])
        for row in rows:
            packer.add(row, shared, prefix if shared else (0, 0))
    if not groups:  # a batch of fully masked rows still needs a graph: every rank has to run its backward
        packer.add_prefix(input_ids[0, :1].cpu())
    return packer.packed().to(input_ids.device)


@dataclass(frozen=True, slots=True)
class _Row:
    index: int
    ids: torch.Tensor
    labels: torch.Tensor
    columns: torch.Tensor
    prompt: int


class _Packer:
    def __init__(self, *, width: int) -> None:
        self.width = width
        self.length = 0
        self.ids: list[torch.Tensor] = []
        self.positions: list[torch.Tensor] = []
        self.labels: list[torch.Tensor] = []
        self.segments: list[tuple[int, int, int, int]] = []
        self.cells: list[torch.Tensor] = []

    def add_prefix(self, ids: torch.Tensor) -> tuple[int, int]:
        """Add tokens that are not scored; return where they are."""
        self._add(ids, 0, torch.full_like(ids, IGNORED), (0, 0))
        return self.segments[-1][:2]

    def add(self, row: _Row, shared: int, prefix: tuple[int, int]) -> None:
        """Add a row from its token `shared` on, the last one left out as it predicts nothing that is scored."""
        labels = row.labels[shared + 1 :]
        self._add(row.ids[shared:-1], shared, labels, prefix)
        scored = labels != IGNORED
        self.cells.append(row.index * self.width + row.columns[shared + 1 :][scored] - 1)

    def _add(self, ids: torch.Tensor, first: int, labels: torch.Tensor, prefix: tuple[int, int]) -> None:
        self.segments.append((self.length, self.length + len(ids), *prefix))
        self.length += len(ids)
        self.ids.append(ids)
        self.positions.append(torch.arange(first, first + len(ids)))
        self.labels.append(labels)

    def packed(self) -> PackedRow:
        labels = torch.cat(self.labels)
        return PackedRow(
            torch.cat(self.ids)[None],
            torch.cat(self.positions)[None],
            labels[None],
            torch.tensor(self.segments, dtype=torch.int64)[None, None],
            (labels != IGNORED).nonzero().flatten(),
            torch.cat(self.cells) if self.cells else torch.zeros(0, dtype=torch.int64),
        )


def dense_mask(row: PackedRow, dtype: torch.dtype) -> torch.Tensor:
    """Return the additive attention mask of a packed row, `(1, 1, L, L)`, for attention that takes no segments."""
    size = row.input_ids.size(1)
    seen = torch.zeros(size, size, dtype=torch.bool, device=row.input_ids.device)
    for start, end, prefix_start, prefix_end in row.segments[0, 0].tolist():
        seen[start:end, start:end] = torch.ones(end - start, end - start, dtype=torch.bool).tril()
        seen[start:end, prefix_start:prefix_end] = True
    mask = torch.zeros(1, 1, size, size, dtype=dtype, device=row.input_ids.device)
    return mask.masked_fill(~seen, torch.finfo(dtype).min)
