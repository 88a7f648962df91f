"""Sampling in rounds keeps what sampling to the end keeps, draws less, and goes on after a kill."""

from __future__ import annotations

from dataclasses import fields

import pytest

from data_tools.errors import DataToolsError
from data_tools.rollouts.pass_rates import Window
from data_tools.rows.row import Dropped
from data_tools.tools.difficulty import difficulty
from light_r1.errors import StageError
from light_r1.models.chat import ChatFormat
from light_r1.ranks import Ranks
from light_r1.recipe.spec import EvaluateSpec
from light_r1.rollouts.collector import Collector
from light_r1.rollouts.sampler import Completion, SamplingParams
from light_r1.stages.evaluate import EvaluateArgs
from light_r1.stages.policy import sampling_params
from light_r1.stages.sampling import SampleOptions, SampleStepOptions, sampled, stop_rule

QUESTIONS = [{"problem": f"{a}+1?", "answer": str(a + 1)} for a in range(4)]
PARAMS = SamplingParams(16, temperature=1.0, seed=7)
FOLLOWING = {"tool": "difficulty", "min_pass_rate": 0.25, "max_pass_rate": 0.75}


class HalfRight:
    """Answers every other sample with 1: question 0 has pass rate 1/2, the others 0."""

    def __init__(self, chat, *, fail_after=None):
        self.chat, self.fail_after = chat, fail_after
        self.asked = []

    def sample(self, requests, params):
        if self.fail_after is not None and len(self.asked) >= self.fail_after:
            raise KeyboardInterrupt
        self.asked += [(request.prompt_id, request.sample_index, params.seed) for request in requests]
        return [self._answer(request, params.seed) for request in requests]

    def _answer(self, request, seed):
        text = "so\n</think>\n\n\\boxed{1}" if (request.sample_index + seed) % 2 else "hm"
        return Completion(request, [*self.chat.encode(text), self.chat.end_token_id], finished=True)


@pytest.fixture
def chat(tokenizer):
    return ChatFormat(tokenizer)


def options(**changed):
    return SampleStepOptions(**{"n": 16, "max_tokens": 16, "temperature": 1.0, "risk": 0.02, **changed})


def run(chat, folder, sampler, step):
    collector = Collector(sampler, chat, folder, Ranks(), 4)
    return sampled(collector, QUESTIONS, step, PARAMS, stop_rule(step, FOLLOWING), label="test")


def kept(rows):
    judged = difficulty(rows, min_pass_rate=0.25, max_pass_rate=0.75)
    return [row["problem"] for row in judged if not isinstance(row, Dropped)]


def test_settled_questions_are_given_up_and_the_kept_ones_are_those_of_full_sampling(chat, tmp_path):
    sampler, full = HalfRight(chat), HalfRight(chat)
    early = run(chat, tmp_path / "early", sampler, options())
    late = run(chat, tmp_path / "late", full, options(risk=None))
    assert len(full.asked) == 64
    assert len(sampler.asked) == 40  # 16 for question 0, 8 for each of the others
    assert kept(early) == kept(late) == ["0+1?"]
    assert [row["n"] for row in early if row["problem"] in kept(early)] == [16]
    assert all(len(row["responses"]) == row["n"] for row in early)
    assert len(set(sampler.asked)) == len(sampler.asked), "no sample is drawn twice"


def test_no_risk_gives_up_only_what_can_no_longer_end_inside(chat, tmp_path):
    rows = run(chat, tmp_path, HalfRight(chat), options(risk=0.0, round_size=1))
    assert rows[0]["n"] == 16
    assert rows[1]["n"] == 13  # of 16, 3 right ones more would still be below 4


def test_a_killed_round_goes_on_with_what_it_has(chat, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(chat, tmp_path, HalfRight(chat, fail_after=12), options())
    again, whole = HalfRight(chat), HalfRight(chat)
    resumed = run(chat, tmp_path, again, options())
    assert resumed == run(chat, tmp_path / "whole", whole, options())
    assert len(again.asked) == len(whole.asked) - 12


def test_the_window_is_that_of_the_next_step():
    assert stop_rule(options(), FOLLOWING).window == Window(0.25, 0.75)
    preset = {"tool": "difficulty", "preset": "light-r1-grpo"}
    assert stop_rule(options(), preset).window == Window(0.25, 0.625)
    assert stop_rule(options(risk=None), None) is None


@pytest.mark.parametrize(
    "following",
    [
        None,
        {"tool": "dedup"},
        {"tool": "difficulty"},
        {**FOLLOWING, "interval": "inside"},
        {**FOLLOWING, "rate_column": "solved"},
        {"tool": "difficulty", "preset": "limr"},
    ],
)
def test_risk_without_a_window_is_refused(following):
    with pytest.raises(StageError, match=r"sample\.risk"):
        stop_rule(options(), following)


def test_faults_of_the_next_step_and_of_the_risk_are_told():
    with pytest.raises(DataToolsError, match="preset light-r1-stage1 needs max_pass_rate"):
        stop_rule(options(), {"tool": "difficulty", "preset": "light-r1-stage1"})
    with pytest.raises(DataToolsError, match=r"0 <= risk < 1, found 16 and 1\.5"):
        stop_rule(options(risk=1.5), FOLLOWING)


def test_every_setting_of_the_samplers_can_be_written_in_a_recipe():
    names = {field.name for field in fields(SamplingParams)} - {"seed"}
    values = {"max_tokens": 7, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.2}
    assert set(values) == names <= {field.name for field in fields(EvaluateArgs)}
    for settings in (SampleOptions(n=2, **values), EvaluateSpec(**values)):
        assert sampling_params(settings, 5) == SamplingParams(**values, seed=5)
