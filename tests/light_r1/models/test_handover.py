from __future__ import annotations

import math

import pytest
import torch

from light_r1.errors import StageError
from light_r1.models.handover import (
    HANDOVER,
    ROWS,
    TOKENS,
    Handover,
    check_logprobs,
    check_words,
    cut_rows,
    in_fp32,
    read_handover,
    score_rows,
    words_of,
    write_handover,
)
from tests.conftest import make_model

ROWS_OF_IDS = [[7, 12, 30, 31, 9], [20, 21, 22], [40, 41, 42, 43, 44, 45, 46]]


def handover_of(model, tokenizer) -> Handover:
    logprobs, width = score_rows(model, ROWS_OF_IDS)
    return Handover(ROWS_OF_IDS, logprobs, width, words_of(tokenizer, ROWS_OF_IDS))


def test_log_probs_are_those_of_each_token_given_those_before_it(tokenizer):
    model = make_model(tokenizer).train()
    logprobs, width = score_rows(model, ROWS_OF_IDS)
    assert model.training
    assert width == model.config.vocab_size
    for row, found in zip(ROWS_OF_IDS, logprobs, strict=True):
        logits = model.eval()(torch.tensor([row])).logits[0].double()
        want = [float(torch.log_softmax(logits[place - 1], -1)[row[place]]) for place in range(1, len(row))]
        assert found == pytest.approx(want, abs=2e-6)


def test_a_vocabulary_that_has_grown_counts_as_it_was(tokenizer):
    model = make_model(tokenizer)
    before, width = score_rows(model, ROWS_OF_IDS)
    model.resize_token_embeddings(width + 3, mean_resizing=False)
    assert score_rows(model, ROWS_OF_IDS, vocabulary=width)[0] == before
    assert score_rows(model, ROWS_OF_IDS)[0] != before


def test_rows_are_spread_over_the_data_and_cut(tmp_path):
    data = [[index] * (400 if index % 25 else 1) for index in range(100)]  # some say nothing
    rows = cut_rows(len(data), data.__getitem__)
    assert 4 <= len(rows) < ROWS
    assert {len(row) for row in rows} == {TOKENS}
    assert rows[0][0] < 20
    assert rows[-1][0] > 80
    assert cut_rows(0, data.__getitem__) == []
    assert cut_rows(2, [[1, 2], [3, 4]].__getitem__) == [[1, 2], [3, 4]]


def test_what_is_written_is_read_again_and_a_damaged_file_is_named(tokenizer, tmp_path):
    handover = handover_of(make_model(tokenizer), tokenizer)
    assert read_handover(tmp_path) is None
    write_handover(tmp_path, handover)
    assert read_handover(tmp_path) == handover
    (tmp_path / HANDOVER).write_text("{")
    with pytest.raises(StageError, match=HANDOVER):
        read_handover(tmp_path)


def test_numbers_that_are_none_are_refused_in_every_row(tokenizer, tmp_path):
    handover = handover_of(make_model(tokenizer), tokenizer)
    for row in range(len(ROWS_OF_IDS)):
        found = [list(each) for each in handover.logprobs]
        found[row][-1] = math.nan
        with pytest.raises(StageError, match="not the model that was trained"):
            check_logprobs(handover, found, dtype="float32", folder=tmp_path, loader="dpo")


def test_fp32_is_exact_whatever_type_is_held_and_leaves_the_model_as_it_was(tokenizer):
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    try:
        model = make_model(tokenizer).bfloat16()
        exact, _ = score_rows(make_model(tokenizer).bfloat16().float(), ROWS_OF_IDS)
        found, _ = score_rows(model, ROWS_OF_IDS, context=in_fp32(model))
        for one, other in zip(found, exact, strict=True):
            assert one == pytest.approx(other, abs=1e-5)
        masters = make_model(tokenizer)
        rounded, _ = score_rows(masters, ROWS_OF_IDS, context=in_fp32(masters, "bfloat16"))
        for one, other in zip(rounded, exact, strict=True):  # whose rotary frequencies are rounded too
            assert one == pytest.approx(other, abs=1e-4)
        assert masters.dtype == torch.float32
        assert model.dtype == torch.bfloat16
        assert torch.backends.cuda.matmul.fp32_precision == "tf32"
    finally:
        torch.backends.cuda.matmul.fp32_precision = "none"


def test_another_model_is_refused_with_both_numbers(tokenizer, tmp_path):
    handover = handover_of(make_model(tokenizer), tokenizer)
    found, _ = score_rows(make_model(tokenizer, seed=1), ROWS_OF_IDS)
    with pytest.raises(StageError, match=r"dpo: .*not the model that was trained") as error:
        check_logprobs(handover, found, dtype="float32", folder=tmp_path, loader="dpo")
    assert f"{handover.mean:.4f}" in str(error.value)
    mean = sum(map(sum, found)) / handover.tokens
    assert f"{mean:.4f}" in str(error.value)
    same = check_logprobs(handover, handover.logprobs, dtype="bfloat16", folder=tmp_path, loader="dpo")
    assert (same.distance, same.tokens) == (0, 12)


def test_a_tokenizer_that_has_shifted_is_refused(tokenizer, tmp_path):
    handover = handover_of(make_model(tokenizer), tokenizer)
    check_words(handover, tokenizer, tmp_path)
    shifted = {index: tokenizer.convert_ids_to_tokens(index + 1) for index in handover.words}
    with pytest.raises(StageError, match="tokenizer is not the one"):
        check_words(Handover(**{**_fields(handover), "words": shifted}), tokenizer, tmp_path)


def _fields(handover: Handover) -> dict:
    return {name: getattr(handover, name) for name in Handover.__dataclass_fields__}
