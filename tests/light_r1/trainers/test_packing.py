"""What a packed row holds."""

from __future__ import annotations

import torch

from light_r1.trainers.packing import dense_mask, pack_rows


def test_a_prompt_is_packed_once_and_padding_never():
    prompt, completions = list(range(10, 20)), [[1, 2, 3], [4], [5, 6, 7, 8, 9]]
    ids = [prompt + c + [0] * (5 - len(c)) for c in completions]
    labels = [[-100] * 10 + c + [-100] * (5 - len(c)) for c in completions]
    mask = [[1] * (10 + len(c)) + [0] * (5 - len(c)) for c in completions]
    row = pack_rows(torch.tensor(ids), torch.tensor(mask), torch.tensor(labels))
    assert row.input_ids[0].tolist() == [*range(10, 19), 19, 1, 2, 19, 19, 5, 6, 7, 8]
    assert row.position_ids[0].tolist() == [*range(9), 9, 10, 11, 9, 9, 10, 11, 12, 13]
    assert row.shift_labels[0].tolist() == [-100] * 9 + [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert row.segments[0, 0].tolist() == [[0, 9, 0, 0], [9, 12, 0, 9], [12, 13, 0, 9], [13, 18, 0, 9]]


def test_tokens_that_influence_no_score_are_left_out():
    row = pack_rows(
        torch.tensor([[7, 1, 2, 3, 4], [8, 1, 2, 3, 4]]),
        torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]]),
        torch.tensor([[-100, -100, 2, -100, -100], [-100] * 5]),
    )
    assert row.input_ids.tolist() == [[7, 1]]
    assert row.cells.tolist() == [1] and row.slots.tolist() == [1]


def test_the_dense_mask_shows_a_completion_its_prompt_and_itself():
    ids = torch.tensor([[5, 6, 1, 2], [5, 6, 3, 4]])
    labels = torch.tensor([[-100, -100, 1, 2], [-100, -100, 3, 4]])
    row = pack_rows(ids, torch.ones_like(ids), labels)
    assert row.input_ids.tolist() == [[5, 6, 1, 6, 3]]
    seen = (dense_mask(row, torch.float32)[0, 0] == 0).int().tolist()
    assert seen == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 1, 0], [1, 0, 0, 1, 1]]
