"""What becomes of a row: the same tokens from every schema, whole or not at all."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from light_r1.errors import DataError
from light_r1.models.chat import IGNORE, ChatFormat
from light_r1.trainers.sft.rendering import fit_row, render_row

SOLUTION = "<think>\n1+1=2\n</think>\n\n\\boxed{2}"
SYSTEM = "Be brief."


def rule(**fields):
    defaults = {"max_length": None, "overlength": "drop", "missing_think": "drop", "completion_only_loss": None}
    return SimpleNamespace(**{**defaults, "dataset_text_field": "text", **fields})


def rendered(chat, row, **fields):
    return render_row(row, 0, chat, rule(**fields), "train")


@pytest.fixture
def chat(tokenizer):
    return ChatFormat(tokenizer)


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "1+1?", "solution": SOLUTION, "system": SYSTEM},
        {"instruction": "1+1?", "output": SOLUTION, "system": SYSTEM},
        {
            "conversations": [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": SOLUTION}],
            "system": SYSTEM,
        },
        {
            "conversations": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": SOLUTION}],
            "system": SYSTEM,
        },
        {
            "messages": [
                {"role": "system", "content": SYSTEM},
                {"role": "user", "content": "1+1?"},
                {"role": "assistant", "content": SOLUTION},
            ]
        },
    ],
    ids=["canonical", "alpaca", "sharegpt", "conversations", "messages"],
)
def test_roles_and_the_system_prompt_survive_every_schema(chat, tokenizer, row):
    ids = rendered(chat, row)["input_ids"]
    assert tokenizer.decode(ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n"
        + SOLUTION
        + "<|im_end|>"
    )


@pytest.mark.parametrize("force_think", [True, False])
def test_a_cut_thought_keeps_prompt_tag_end_and_answer(tokenizer, force_think):
    chat = ChatFormat(tokenizer, force_think=force_think)
    thought = "abcdefghij" * 30
    row = {"problem": "p?", "solution": f"<think>\n{thought}\n</think>\n\n\\boxed{{2}}"}
    prompt = "<|im_start|>user\np?<|im_end|>\n<|im_start|>assistant\n"
    made = rendered(chat, row, max_length=100, overlength="keep_end_of_thought")
    text = tokenizer.decode(made["input_ids"])
    assert made["length"] == len(made["input_ids"]) == len(made["labels"]) == 100
    assert text.startswith(f"{prompt}<think>\n")
    kept = text.removeprefix(f"{prompt}<think>\n").removesuffix("\n</think>\n\n\\boxed{2}<|im_end|>")
    assert len(kept) > 20 and thought.endswith(kept)
    supervised = tokenizer.decode([label for label in made["labels"] if label != IGNORE])
    assert supervised == text.removeprefix(prompt)
    ids = chat.render(row["problem"], row["solution"])
    again = fit_row(
        {"input_ids": ids.input_ids, "labels": ids.labels},
        0,
        chat,
        rule(max_length=100, overlength="keep_end_of_thought"),
        "train",
    )
    assert again == made


@pytest.mark.parametrize(
    "row",
    [
        {"problem": "p?", "solution": f"<think>\nshort\n</think>\n\n{'x' * 200}"},
        {"problem": "p" * 200, "solution": SOLUTION},
        {"text": "t" * 200},
    ],
    ids=["the answer", "the prompt", "a text without a thought"],
)
def test_what_is_too_long_beside_the_thought_is_dropped_and_not_cut(chat, row):
    made = rendered(chat, row, max_length=100, overlength="keep_end_of_thought")
    assert (made["reason"], made["input_ids"]) == ("overlength", [])
    assert made["length"] > 100


def test_rows_without_a_label_are_lost_with_a_reason(chat):
    made = fit_row({"input_ids": [5, 6], "labels": [IGNORE, IGNORE]}, 0, chat, rule(), "train")
    assert made["reason"] == "nothing_supervised"


def test_an_overlong_row_stops_where_asked(chat):
    with pytest.raises(DataError, match=r"row 0: \d+ tokens, more than max_length=20"):
        rendered(chat, {"problem": "1+1?", "solution": SOLUTION}, max_length=20, overlength="error")
