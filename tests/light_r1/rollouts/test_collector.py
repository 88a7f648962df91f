from __future__ import annotations

import pytest

from light_r1.models.chat import ChatFormat
from light_r1.ranks import Ranks
from light_r1.rollouts.collector import Collector, with_responses
from light_r1.rollouts.sampler import Completion, SamplingParams

QUESTIONS = [{"problem": f"{a}+1?", "answer": str(a + 1)} for a in range(5)]
PARAMS = SamplingParams(16, temperature=1.0, seed=7)


class Scripted:
    """Answers every even sample with 1, every odd one with nothing at all."""

    def __init__(self, chat, *, fail_after=None):
        self.chat = chat
        self.asked = []
        self.fail_after = fail_after

    def sample(self, requests, params):
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += requests
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        text = "so\n</think>\n\n\\boxed{1}" if request.sample_index % 2 == 0 else "hm"
        return Completion(request, [*self.chat.encode(text), self.chat.end_token_id], finished=True)


class Alone(Ranks):
    def barrier(self):
        pass


@pytest.fixture
def chat(tokenizer):
    return ChatFormat(tokenizer)


def collect(chat, folder, sampler, *, ranks=None, group_size=4, n=2, questions=QUESTIONS):
    collector = Collector(sampler, chat, folder, ranks or Ranks(), group_size)
    return collector.collect(questions, n, PARAMS, label="test")


def test_samples_are_judged_and_come_in_the_order_of_the_questions(chat, tmp_path):
    groups = collect(chat, tmp_path, Scripted(chat))
    assert [[record["correct"] for record in group] for group in groups] == [[True, False]] + [[False, False]] * 4
    assert groups[0][0]["text"] == "<think>\nso\n</think>\n\n\\boxed{1}"
    assert groups[0][1]["reason"] == "the thought was not closed"


def test_what_was_sampled_before_is_not_sampled_again(chat, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        collect(chat, tmp_path, Scripted(chat, fail_after=4))
    again = Scripted(chat)
    groups = collect(chat, tmp_path, again)
    assert len(again.asked) == 6
    fresh = collect(chat, tmp_path / "fresh", Scripted(chat))
    assert groups == fresh


def test_other_settings_are_other_samples(chat, tmp_path):
    collect(chat, tmp_path, Scripted(chat))
    again = Scripted(chat)
    Collector(again, chat, tmp_path, Ranks(), 4).collect(
        QUESTIONS, 2, SamplingParams(16, temperature=0.5), label="test"
    )
    assert len(again.asked) == 10


def test_ranks_share_the_groups(chat, tmp_path):
    samplers = [Scripted(chat) for _ in range(2)]
    with pytest.raises(KeyError):  # the first to finish does not see the other's share without a real barrier
        collect(chat, tmp_path, samplers[0], ranks=Alone(0, 2))
    groups = collect(chat, tmp_path, samplers[1], ranks=Alone(1, 2))
    asked = [{(r.prompt_id, r.sample_index) for r in sampler.asked} for sampler in samplers]
    assert not asked[0] & asked[1]
    assert len(asked[0] | asked[1]) == 10
    assert groups == collect(chat, tmp_path / "alone", Scripted(chat))


def test_equal_questions_share_their_samples(chat, tmp_path):
    sampler = Scripted(chat)
    one, two = collect(chat, tmp_path, sampler, questions=[QUESTIONS[0], dict(QUESTIONS[0])])
    assert one == two
    assert len(sampler.asked) == 2


def test_pass_rates_leave_out_what_could_not_be_judged():
    records = [
        {"text": "", "completion_ids": [], "finished": True, "n_tokens": 0, "correct": correct}
        for correct in (True, None, False, True)
    ]
    row = with_responses({"problem": "p"}, records)
    assert (row["n"], row["n_correct"], row["pass_rate"]) == (3, 2, pytest.approx(2 / 3))
    assert with_responses({}, records[1:2])["pass_rate"] is None
