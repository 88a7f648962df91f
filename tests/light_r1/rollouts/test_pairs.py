from __future__ import annotations

import pytest

from data_tools.rows.row import Dropped
from light_r1.errors import DataError
from light_r1.models.chat import ChatFormat
from light_r1.rollouts.pairs import PairOptions, build_pairs, describe_pairs

TEACHER = "<think>\n2+2=4\n</think>\n\n\\boxed{4}"


def response(text: str, correct: bool | None, finished: bool = True, **more) -> dict:
    return {"text": text, "correct": correct, "finished": finished, **more}


def row(responses, **more) -> dict:
    return {"problem": "2+2?", "answer": "4", "solution": TEACHER, "responses": responses, **more}


WRONG = response("<think>\n2+2=5\n</think>\n\n\\boxed{5}", False)
OTHER_WRONG = response("<think>\n2+2=6\n</think>\n\n\\boxed{6}", False)
RIGHT = response("<think>\nso 4\n</think>\n\n\\boxed{4}", True)
CUT = response("<think>\n2+2=4+0=4+0", False, finished=False)


@pytest.fixture
def chat(tokenizer):
    return ChatFormat(tokenizer)


def pairs(chat, rows, **options):
    return list(build_pairs(rows, chat, PairOptions(**options)))


def test_teacher_is_chosen_and_own_wrong_is_rejected_token_by_token(chat):
    (pair,) = pairs(chat, [row([RIGHT, WRONG])])
    assert pair["chosen_ids"] == chat.completion_ids(TEACHER)
    assert chat.response_text(pair["rejected_ids"]) == WRONG["text"]
    assert pair["prompt_ids"] == chat.prompt_ids("2+2?")
    assert (pair["chosen_from"], pair["rejected_rule"]) == ("teacher", "wrong")


def test_sampled_token_ids_are_used_as_they_are(chat):
    ids = [9, 8, 7]
    (pair,) = pairs(chat, [row([{"completion_ids": ids, "correct": False, "finished": True}])])
    assert pair["rejected_ids"] == ids


def test_questions_without_a_pair_say_why(chat):
    no_wrong, no_right, wrong_teacher = pairs(
        chat,
        [row([RIGHT]), row([WRONG], solution=None), row([WRONG], answer="7")],
    )
    assert all(isinstance(item, Dropped) for item in (no_wrong, no_right, wrong_teacher))
    assert [no_wrong.reason, no_right.reason, wrong_teacher.reason] == [
        "no_wrong_sample",
        "no_right_response",
        "teacher_not_right",
    ]


def test_what_the_verifier_could_not_judge_is_never_used(chat):
    (item,) = pairs(chat, [row([response("?", None)])])
    assert isinstance(item, Dropped)


def test_own_right_samples_can_be_chosen(chat):
    (pair,) = pairs(chat, [row([RIGHT, WRONG])], chosen="self")
    assert chat.response_text(pair["chosen_ids"]) == RIGHT["text"]
    (pair,) = pairs(chat, [row([RIGHT, WRONG], answer="7")], chosen="teacher_or_self")
    assert pair["chosen_from"] == "self"


def test_caps_per_question_and_duplicates_count_once(chat):
    rows = [row([WRONG, WRONG, OTHER_WRONG])]
    assert len(pairs(chat, rows, per_question=5)) == 2
    assert len(pairs(chat, rows, per_question=1)) == 1


@pytest.mark.parametrize(
    ("sample", "rule", "options"),
    [
        (CUT, "truncated", {}),
        (WRONG, "too_short", {"min_rejected_tokens": 500}),
        (WRONG, "too_long", {"max_rejected_tokens": 3}),
        (WRONG, "wrong", {}),
        (response("<think>\nso 2+2=4\n</think>\n\n\\boxed{5}", False), "right_thought", {}),
        (response("<think>\n4? no, 2+2=5\n</think>\n\n\\boxed{5}", False), "wrong", {}),
        (response("<think>\n2+2=4", False), "wrong", {}),
    ],
)
def test_rejected_responses_are_classed(chat, sample, rule, options):
    (pair,) = pairs(chat, [row([sample])], **options)
    assert pair["rejected_rule"] == rule


def test_preferred_classes_come_first_and_others_can_be_left_out(chat):
    (pair,) = pairs(chat, [row([CUT, WRONG])], prefer=("wrong", "truncated"))
    assert pair["rejected_rule"] == "wrong"
    (pair,) = pairs(chat, [row([CUT, WRONG])], prefer=("truncated",))
    assert pair["rejected_rule"] == "truncated"
    (item,) = pairs(chat, [row([CUT])], include_truncated=False)
    assert item.reason == "no_wrong_sample"


def test_the_stripped_variant_has_no_think_tags(chat, tokenizer):
    (pair,) = pairs(chat, [row([WRONG])], strip_special_tokens=True)
    assert tokenizer.convert_tokens_to_ids("</think>") not in pair["rejected_ids"]
    assert pair["rejected_ids"][-1] == tokenizer.eos_token_id


def test_the_choice_is_seeded_by_content(chat):
    rows = [row([response(f"<think>\n{i}\n</think>\n\n\\boxed{{{i}}}", False) for i in range(10, 30)])]
    assert pairs(chat, rows, seed=1) == pairs(chat, rows, seed=1)
    chosen = {tuple(pairs(chat, rows, seed=seed)[0]["rejected_ids"]) for seed in range(6)}
    assert len(chosen) > 1


def test_description_shows_what_a_length_margin_would_live_on(chat):
    found = describe_pairs(pairs(chat, [row([CUT, WRONG])], per_question=2))
    assert found["pairs"] == 2
    assert found["rules"] == {"wrong": 1, "truncated": 1}
    assert 0 <= found["rejected_longer"] <= 1


def test_ready_samples_without_an_answer_are_paired_without_verifying(chat):
    (pair,) = pairs(chat, [{"problem": "2+2?", "solution": TEACHER, "responses": [WRONG]}], verify_teacher=False)
    assert pair["rejected_rule"] == "wrong"
    with pytest.raises(DataError, match="columns are problem, responses, solution"):
        pairs(chat, [{"problem": "2+2?", "solution": TEACHER, "responses": [WRONG]}])
