from __future__ import annotations

import pytest

from light_r1.errors import DataError, LightR1Error
from light_r1.models.chat import IGNORE, ChatFormat, detect_family
from tests.conftest import END, character_tokenizer

FAMILIES = ["chatml", "qwen3", "deepseek_r1", "llama3", "plain"]
SOLUTION = "<think>\nFirst 1+1.\nWait, yes.\n</think>\n\nThe answer is \\boxed{2}."
# The prompt of "1+1?" with a system prompt, typed from the model cards' templates.
PROMPTS = {
    "chatml": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n",
    "qwen3": "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n",
    "deepseek_r1": "<｜begin▁of▁sentence｜>Be brief.<｜User｜>1+1?<｜Assistant｜>",
    "llama3": "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n1+1?<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
    "plain": "Be brief.\n\n1+1?\n",
}


def chat(family: str, *, think_special: bool = True, **options) -> ChatFormat:
    tokenizer = character_tokenizer(family, think_special=think_special)
    return ChatFormat(tokenizer, template="auto", system="Be brief.", **options)


@pytest.mark.parametrize("force_think", [True, False])
@pytest.mark.parametrize("think_special", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_supervised_text_is_thought_answer_and_end_token_byte_for_byte(family, think_special, force_think):
    form = chat(family, think_special=think_special, force_think=force_think)
    assert form.name == family
    rendered = form.render("1+1?", SOLUTION)
    supervised = [token for token in rendered.labels if token != IGNORE]
    assert form.tokenizer.decode(supervised) == SOLUTION + END[family]
    whole = PROMPTS[family] + SOLUTION + END[family]
    assert form.tokenizer.decode(rendered.input_ids) == whole
    opening = "<think>\n" if force_think else ""
    assert form.tokenizer.decode(rendered.prompt_ids) == PROMPTS[family] + opening
    # What sampling starts from is what training saw, token by token.
    assert rendered.input_ids[: len(rendered.prompt_ids)] == form.prompt_ids("1+1?")
    assert form.completion_ids(SOLUTION) == rendered.completion_ids
    assert form.response_text(rendered.completion_ids) == SOLUTION


@pytest.mark.parametrize("force_think", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_stored_jinja_template_gives_the_same_generation_prompt(family, force_think):
    form = chat(family, force_think=force_think, suffix=" Box it.")
    messages = [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": "<think>\nhm\n</think>\n\n4"},
        {"role": "user", "content": "1+1?"},
    ]
    text = form.tokenizer.apply_chat_template(
        messages, chat_template=form.jinja(), add_generation_prompt=True, tokenize=False
    )
    assert text == form.prompt_text(messages)
    assert "hm" not in text
    assert "1+1? Box it." in text


@pytest.mark.parametrize(
    "solution",
    [
        "First 1+1.\nWait, yes.\n</think>\n\nThe answer is \\boxed{2}.",
        "<think>First 1+1.\nWait, yes.</think>The answer is \\boxed{2}.",
        "<think>\n<think>\nFirst 1+1.\nWait, yes.\n</think>\n\nThe answer is \\boxed{2}.",
    ],
)
def test_a_forced_opening_tag_is_neither_doubled_nor_lost(solution):
    form = chat("chatml")
    assert form.render("1+1?", solution) == form.render("1+1?", SOLUTION)


def test_a_solution_without_thought_is_rendered_without_an_opened_one():
    form = chat("chatml")
    rendered = form.render("1+1?", "It is 2.")
    assert "<think>" not in form.tokenizer.decode(rendered.input_ids)
    assert form.fault("It is 2.") == "no_think"


def test_an_unclosed_thought_is_refused():
    form = chat("chatml")
    with pytest.raises(DataError, match="unclosed_think"):
        form.render("1+1?", "<think>\nFor ever and ever")


def test_own_think_tokens_are_used_for_the_output():
    form = chat("plain", think_special=False, think_tokens=("[[", "]]"), force_think=False)
    rendered = form.render("1+1?", SOLUTION)
    assert "[[\nFirst 1+1." in form.tokenizer.decode(rendered.completion_ids)
    assert form.render("1+1?", "[[\nFirst 1+1.\nWait, yes.\n]]\n\nThe answer is \\boxed{2}.") == rendered


def test_answer_text_is_what_stands_behind_the_thought():
    form = chat("chatml")
    assert form.answer_text(SOLUTION) == "\n\nThe answer is \\boxed{2}."
    assert form.answer_text("no tags") == "no tags"


def test_a_conversation_that_does_not_end_with_a_question_is_refused():
    with pytest.raises(DataError, match="must end with a user turn"):
        chat("chatml").prompt_text([{"role": "assistant", "content": "hello"}])


def test_unknown_names_are_refused_with_the_nearest():
    tokenizer = character_tokenizer("chatml", think_special=True)
    with pytest.raises(LightR1Error, match="Did you mean chatml"):
        ChatFormat(tokenizer, template="chat_ml")
    with pytest.raises(LightR1Error, match="no token"):
        ChatFormat(tokenizer, template="llama3")
    assert detect_family(tokenizer) == "chatml"
