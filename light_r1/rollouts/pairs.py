"""Judged rollouts become preference pairs: Light-R1's semi-on-policy recipe.

Rejected is a sample of the current policy that the verifier called wrong; chosen is a teacher's response that it
called right (or an own right sample, by option). Paper §3.2; v1 §3.1.3 adds that rejected responses were picked among
the too long, the too short and those that "think right but answer wrong". The length bounds are not published, so
they are options without a value here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from data_tools.rows.row import Dropped, Row
from data_tools.traces.thoughts import behind_thought, split_think
from light_r1.errors import DataError
from light_r1.models.chat import ChatFormat
from light_r1.rollouts.judge import shared_judge

RejectedRule = Literal["truncated", "too_long", "too_short", "right_thought", "wrong"]


@dataclass(frozen=True, slots=True)
class PairOptions:
    """How pairs are chosen.

    Args:
        chosen: `teacher` takes the row's `solution`; `self` the policy's own right samples; `teacher_or_self` the
            teacher's where there is one.
        verify_teacher: Whether a teacher's solution must be verified right against `answer` to be chosen.
        per_question: Most pairs per question.
        include_truncated: Whether samples cut by the length limit may be rejected. They teach to stop.
        min_rejected_tokens: Shorter wrong samples count as `too_short`; no such class if `None`.
        max_rejected_tokens: Longer wrong samples count as `too_long`; no such class if `None`.
        prefer: Classes of rejected samples in order of preference. A `right_thought` is a closed thought that comes
            to the right answer, before a final answer that is wrong.
        strip_special_tokens: Decode rejected samples without special tokens and encode them again, which removes
            the think tags where these are special: the variant that Light-R1 made by accident and merged.
        seed: Seed of the choice among equals.
    """

    chosen: Literal["teacher", "self", "teacher_or_self"] = "teacher"
    verify_teacher: bool = True
    per_question: int = 1
    include_truncated: bool = True
    min_rejected_tokens: int | None = None
    max_rejected_tokens: int | None = None
    prefer: tuple[RejectedRule, ...] = ("right_thought", "wrong", "too_short", "too_long", "truncated")
    strip_special_tokens: bool = False
    seed: int = 0


def build_pairs(
    rows: Iterable[Row], chat: ChatFormat, options: PairOptions = PairOptions()
) -> Iterator[Row | Dropped]:
    """Turn questions with judged samples into token-exact pairs.

    Args:
        rows: Questions with `problem`, a teacher's `solution` where there is one, and `responses`: a list of
            `{"text" or "completion_ids", "correct", "finished"}`. Samples whose `correct` is null are not used. Rows
            with an `answer` have their teacher and the thoughts of wrong samples verified against it, in processes
            with a deadline.
        chat: Renders prompt and teacher.
        options: See `PairOptions`.

    Raises:
        DataError: A teacher is to be verified and there is no answer.

    Yields:
        Rows with `prompt_ids`, `chosen_ids`, `rejected_ids`, `rejected_rule`, `chosen_from`, and the question's id;
        or `Dropped` questions.

    Drops:
        no_wrong_sample: the policy was always right, or its wrong samples are not admitted.
        no_right_response: there is neither a teacher's nor (where asked for) an own right response.
        teacher_not_right: the teacher's solution was not verified right, and there is no other.
    """
    for row in rows:
        yield from _pairs_of(row, chat, options)


def _pairs_of(row: Row, chat: ChatFormat, options: PairOptions) -> Iterator[Row | Dropped]:
    rng = Random(f"{options.seed}:{row['problem']}")
    rejected = _rejected(row, chat, options, rng)
    chosen = _chosen(row, chat, options, rng)
    if not rejected:
        yield Dropped(row, "no_wrong_sample")
        return
    if not chosen:
        has_teacher = bool(row.get("solution")) and options.chosen != "self"
        yield Dropped(row, "teacher_not_right" if has_teacher else "no_right_response")
        return
    prompt_ids = chat.prompt_ids(row["problem"])
    for index, (rule, rejected_ids) in enumerate(rejected[: options.per_question]):
        source, chosen_ids = chosen[index % len(chosen)]
        yield {
            "id": row.get("id", row["problem"]),
            "prompt_ids": prompt_ids,
            "chosen_ids": chosen_ids,
            "rejected_ids": rejected_ids,
            "chosen_from": source,
            "rejected_rule": rule,
        }


def _ids(response: Mapping[str, Any], chat: ChatFormat) -> list[int]:
    if response.get("completion_ids") is not None:
        return list(response["completion_ids"])
    return chat.response_ids(response["text"])


def _rejected(row: Row, chat: ChatFormat, options: PairOptions, rng: Random) -> list[tuple[RejectedRule, list[int]]]:
    wrong: dict[tuple[int, ...], Mapping[str, Any]] = {}
    for response in row["responses"]:
        if response.get("correct") is False:
            wrong.setdefault(tuple(_ids(response, chat)), response)
    thought_right = _right_thoughts(row, [list(ids) for ids in wrong], chat)
    candidates: list[tuple[RejectedRule, list[int]]] = []
    for (key, response), thought in zip(wrong.items(), thought_right, strict=True):
        ids = list(key)
        rule = _rule(response, len(ids), thought, options)
        if rule in options.prefer and (rule != "truncated" or options.include_truncated):
            candidates.append((rule, _stripped(ids, chat) if options.strip_special_tokens else ids))
    rng.shuffle(candidates)
    return sorted(candidates, key=lambda item: options.prefer.index(item[0]))


def _right_thoughts(row: Row, samples: Sequence[Sequence[int]], chat: ChatFormat) -> list[bool]:
    """Return for each sample whether its thought is closed and comes to the right answer."""
    right = [False] * len(samples)
    if row.get("answer") is None or not chat.think_tokens:
        return right
    thoughts: dict[int, str] = {}
    for index, ids in enumerate(samples):
        text = chat.response_text(ids)
        answer = behind_thought(text, chat.think_tokens)
        if answer is not None and answer != text:
            thought = text.removesuffix(answer)
            for tag in chat.think_tokens:
                thought = thought.replace(tag, "")
            thoughts[index] = thought
    verdicts = shared_judge(chat.think_tokens).verdicts(list(thoughts.values()), [row["answer"]] * len(thoughts))
    for index, verdict in zip(thoughts, verdicts, strict=True):
        right[index] = verdict.correct
    return right


def _rule(response: Mapping[str, Any], length: int, thought_right: bool, options: PairOptions) -> RejectedRule:
    if response.get("finished") is False:
        return "truncated"
    if options.max_rejected_tokens is not None and length > options.max_rejected_tokens:
        return "too_long"
    if options.min_rejected_tokens is not None and length < options.min_rejected_tokens:
        return "too_short"
    return "right_thought" if thought_right else "wrong"


def _chosen(row: Row, chat: ChatFormat, options: PairOptions, rng: Random) -> list[tuple[str, list[int]]]:
    teacher = row.get("solution")
    if options.chosen != "self" and teacher and (not options.verify_teacher or _is_right(teacher, row, chat)):
        return [("teacher", chat.completion_ids(teacher))]
    if options.chosen == "teacher":
        return []
    own = [r for r in row["responses"] if r.get("correct") is True and r.get("finished") is not False]
    rng.shuffle(own)
    return [("self", _ids(response, chat)) for response in own]


def _is_right(teacher: str, row: Row, chat: ChatFormat) -> bool:
    if row.get("answer") is None:
        raise DataError(f"verify_teacher needs an answer to verify against; the columns are {', '.join(sorted(row))}")
    parts = split_think(teacher, chat.think_tokens)
    if parts.fault == "unclosed_think":
        return False
    answer = teacher if parts.answer is None else parts.answer
    (verdict,) = shared_judge(chat.think_tokens).verdicts([answer], [row["answer"]])
    return verdict.correct


def _stripped(ids: Sequence[int], chat: ChatFormat) -> list[int]:
    text = chat.tokenizer.decode(ids, skip_special_tokens=True)
    return [*chat.encode(text), chat.end_token_id]


def describe_pairs(pairs: Sequence[Row]) -> dict[str, float | dict[str, int]]:
    """Return counts and lengths of pairs: what a length-exploiting margin would live on.

    Returns:
        `pairs`, `chosen_tokens` and `rejected_tokens` (means), `rejected_longer` (share of pairs), `rules` (counts).
    """
    n = max(1, len(pairs))
    return {
        "pairs": len(pairs),
        "chosen_tokens": sum(len(pair["chosen_ids"]) for pair in pairs) / n,
        "rejected_tokens": sum(len(pair["rejected_ids"]) for pair in pairs) / n,
        "rejected_longer": sum(len(pair["rejected_ids"]) > len(pair["chosen_ids"]) for pair in pairs) / n,
        "rules": dict(Counter(pair["rejected_rule"] for pair in pairs)),
    }
