"""Where a thought ends: all that grades, pairs, scores or checks agrees with one naive reference, for any tags."""

from __future__ import annotations

import pytest

from data_tools.answers.normalize import clean, squashed
from data_tools.answers.stated import candidates
from data_tools.answers.verify import verify
from data_tools.rows.row import Dropped
from light_r1 import accuracy, get_cosine_reward
from light_r1.errors import LightR1Error
from light_r1.models.chat import ChatFormat
from light_r1.ranks import Ranks
from light_r1.rewards import load_reward
from light_r1.rollouts.collector import Collector
from light_r1.rollouts.judge import Judge, judge, shared_judge
from light_r1.rollouts.pairs import build_pairs
from light_r1.rollouts.sampler import Completion, SamplingParams
from light_r1.run.check import inspect
from light_r1.stages.evaluate import _answer
from light_r1.stages.sft import _thought_fault
from tests.conftest import character_tokenizer

TAGS = [
    ("<think>", "</think>"),
    ("<thought>", "</thought>"),
    ("[THINK]", "[/THINK]"),
    ("<思考>", "</思考>"),
    (),
]
# A response to a problem whose answer is 4, whether it is right, and why it cannot be trained on.
SHAPES = {
    "closed": (r"OPEN 5? \boxed{5} CLOSE \boxed{4}", True, None),
    "closed, wrong behind a right thought": (r"OPEN so \boxed{4} CLOSE \boxed{5}", False, None),
    "unclosed": (r"OPEN so \boxed{4} but", False, "unclosed_think"),
    "closing tag only": (r"5? \boxed{5} CLOSE \boxed{4}", True, None),
    "closing tag only, wrong": (r"so \boxed{4} CLOSE \boxed{5}", False, None),
    "no tag": (r"so \boxed{4}", True, "no_think"),
    "nested": (r"OPEN a OPEN b CLOSE \boxed{4}", True, "ambiguous_think"),
    "opened twice": (r"OPENOPEN a CLOSE \boxed{4}", True, None),
    "opening tag named in the answer": (r"OPEN a CLOSE behind OPEN is \boxed{4}", True, "ambiguous_think"),
    "closed twice": (r"OPEN a CLOSE \boxed{5} CLOSE \boxed{4}", True, "ambiguous_think"),
    "closed twice, wrong": (r"OPEN a CLOSE \boxed{4} CLOSE \boxed{5}", False, "ambiguous_think"),
    "empty thought": (r"OPENCLOSE \boxed{4}", True, "no_think"),
    "nothing behind": (r"OPEN so \boxed{4} CLOSE", False, "no_answer_text"),
    "another form's tag in the answer": (r"OPEN a CLOSE \boxed{4} </reasoning> it is.", True, None),
}
every_case = pytest.mark.parametrize("shape", SHAPES)
every_tags = pytest.mark.parametrize("tags", TAGS, ids=lambda tags: "".join(tags) or "none")


def response(shape: str, tags: tuple[str, ...]) -> str:
    opening, closing = tags or TAGS[0]
    return SHAPES[shape][0].replace("OPEN", opening).replace("CLOSE", closing)


def naive(text: str, tags: tuple[str, ...]) -> tuple[str | None, str | None]:
    """The thought, if it was closed, and what stands behind it, if anything does."""
    if not tags or (tags[0] not in text and tags[1] not in text):
        return None, text
    *thoughts, answer = text.split(tags[1])
    return ("".join(thoughts).replace(tags[0], ""), answer) if thoughts else (None, None)


def is_right(text: str | None) -> bool:
    return text is not None and verify(text, "4", with_thought=False).correct


def chat_of(tags: tuple[str, ...], **options) -> ChatFormat:
    tokenizer = character_tokenizer("chatml", think_special=False)
    tokenizer.add_tokens([*tags, *"思考"], special_tokens=True)
    return ChatFormat(tokenizer, think_tokens=tags, **{"force_think": False, **options})


@every_tags
@every_case
def test_what_is_graded_is_behind_the_thought(shape, tags):
    text = response(shape, tags)
    expected = is_right(naive(text, tags)[1])
    if tags:
        assert expected == SHAPES[shape][1]
    assert judge(text, "4", tags).correct == expected
    (verdict,) = shared_judge(tags).verdicts([text], ["4"])
    assert (verdict.correct, verdict.outcome) == (expected, "right" if expected else verdict.outcome)
    assert chat_of(tags).answer_text(text) == (naive(text, tags)[1] if naive(text, tags)[1] is not None else text)


@every_tags
@every_case
def test_an_evaluation_votes_with_the_answer_behind_the_thought(shape, tags):
    text = response(shape, tags)
    found = candidates(naive(text, tags)[1] or "")
    assert _answer(text, tags) == (squashed(clean(found[0])) if found else None)


@every_tags
@every_case
def test_every_reward_reads_the_tags_it_was_given(shape, tags):
    text = response(shape, tags)
    expected = is_right(naive(text, tags)[1])
    counts = [text.count(tag) for tag in tags]

    def rewarded(name: str, **options) -> float:
        reward = load_reward(name, think_tokens=tags, **options)
        columns = {"prompts": ["?"] * 2, "completion_ids": [[0], [0] * 9], "answer": ["4"] * 2, "other": [1, 2]}
        return reward(completions=[text, r"\boxed{5}"], **columns)[0]

    assert rewarded("accuracy") == rewarded("light_r1.rewards.verified:get_accuracy_reward") == expected
    assert (rewarded("cosine", max_len=100) > 0) == expected
    assert rewarded("kimi_length") == (0.5 if expected else 0)
    begins = not tags or text.strip().startswith(tags[0])
    assert rewarded("format") == rewarded("think_format") == (begins and counts in ([], [1, 1]))
    assert rewarded("think_format", opening_tag="in_template") == (counts in ([], [0, 1]))
    assert rewarded("tag_count") == (counts.count(1) / 2 if tags else 1)


@every_tags
@every_case
def test_pairs_take_thought_and_teacher_apart_alike(shape, tags):
    text, chat = response(shape, tags), chat_of(tags)
    thought, answer = naive(text, tags)
    sample = {"text": text, "correct": False, "finished": True}
    row = {"problem": "2+2?", "answer": "4", "solution": r"\boxed{4}", "responses": [sample]}
    (pair,) = build_pairs([row], chat)
    assert pair["rejected_rule"] == ("right_thought" if is_right(thought) else "wrong")
    assert chat.response_text(pair["rejected_ids"]) == text
    if tags and SHAPES[shape][2] == "ambiguous_think":  # no teacher: it cannot be trained on
        return
    (pair,) = build_pairs([{**row, "solution": text}], chat)
    assert not isinstance(pair, Dropped) if is_right(answer) else pair.reason == "teacher_not_right"


@every_tags
@every_case
def test_the_check_of_an_sft_stage_says_what_the_trainer_will(shape, tags):
    text = response(shape, tags)
    fault = SHAPES[shape][2] if tags else None
    assert _thought_fault({"solution": text}, tags) == chat_of(tags).fault(text) == fault


class Scripted:
    """Answers with the texts, one after another."""

    def __init__(self, chat, texts):
        self.chat, self.texts = chat, texts

    def sample(self, requests, params):
        return [
            Completion(one, self.chat.response_ids(text), finished=True)
            for one, text in zip(requests, self.texts, strict=True)
        ]


@pytest.mark.parametrize("force_think", [True, False])
@every_tags
def test_collected_samples_are_judged_with_the_tags_of_their_chat(tags, force_think, tmp_path):
    chat = chat_of(tags, force_think=force_think)
    texts = [response(shape, tags) for shape in SHAPES]
    collector = Collector(Scripted(chat, texts), chat, tmp_path, Ranks(), group_size=len(texts))
    question = {"problem": "2+2?", "answer": "4"}
    (records,) = collector.collect([question], len(texts), SamplingParams(9), label="test")
    for record in records:
        assert record["correct"] == is_right(naive(record["text"], tags)[1])


def test_judges_of_several_tags_do_not_mix_them():
    texts = [response("unclosed", tags) for tags in TAGS[:4]]
    for tags in TAGS[:4]:
        verdicts = shared_judge(tags).verdicts(texts, ["4"] * 4)
        assert [verdict.correct for verdict in verdicts] == [other != tags for other in TAGS[:4]]


def test_a_reward_used_alone_knows_the_usual_tags():
    closed, unclosed = response("closed", TAGS[0]), response("unclosed", TAGS[0])
    columns = {"completions": [closed, unclosed], "completion_ids": [[0], [0]], "answer": ["4", "4"], "prompts": ["?"]}
    assert accuracy(**columns) == [1, 0]
    assert get_cosine_reward(max_len=10)(**columns)[1] < 0 < get_cosine_reward(max_len=10)(**columns)[0]
    assert load_reward("format")(**columns) == [1, 0]


def test_letters_of_the_tags_are_no_language():
    text = "<思考>so the sum is four</思考>"
    assert load_reward("language_consistency", think_tokens=TAGS[3])([text]) == [1]
    assert load_reward("language_consistency")([text])[0] < 1


def test_one_tag_is_refused():
    for make in (lambda tags: load_reward("format", think_tokens=tags), lambda tags: Judge(think_tokens=tags)):
        for tags in (["<think>"], ["", "</think>"]):
            with pytest.raises(LightR1Error, match="expected two tags or none"):
                make(tags)


def test_a_recipe_with_tags_of_its_own_is_whole(tmp_path):
    file = tmp_path / "tags.yaml"
    file.write_text('name: tags\nextends: tiny\nchat: {think_tokens: ["<thought>", "</thought>"]}\n')
    checked = inspect(file)
    assert not checked.problems and checked.recipe.chat.think_tokens == TAGS[1]
