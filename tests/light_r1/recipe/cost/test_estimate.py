from __future__ import annotations

import pytest

from light_r1.recipe.cost.estimate import Work
from light_r1.recipe.cost.rows import Amount, RowsOf, questions_of
from light_r1.recipe.read import load_recipe
from light_r1.stages import described_stage

RECIPE = """
model: {name_or_path: Qwen/Qwen2.5-7B-Instruct}
data: {a: {hub: x/y, rows: 100}}
evaluate: {benchmarks: {b: {hub: x/z, rows: 30}}, n: 4, max_tokens: 1000, k: [1]}
stages:
  - {name: sft, type: sft, data: a, args: {num_train_epochs: 2, max_length: 500, per_device_train_batch_size: 3}}
  - name: pool
    type: data
    data: a
    steps: [{tool: sample, n: 5, temperature: 1.0, max_tokens: 200}, {tool: difficulty}]
  - name: dpo
    type: dpo
    from: sft
    data: pool
    sample: {n: 2, temperature: 1.0, max_tokens: 300}
    pairs: {per_question: 2}
    args: {num_train_epochs: 1, max_length: 400, per_device_train_batch_size: 4, gradient_accumulation_steps: 5}
  - {name: merge, type: merge, from: [sft, dpo], args: {method: linear}}
  - name: grpo
    type: grpo
    from: merge
    data: a
    rewards: [accuracy]
    args:
      num_generations: 4
      per_device_train_batch_size: 4
      context_schedule: [{steps: 10, max_completion_length: 100}, {steps: 30, max_completion_length: 200}]
  - {name: evaluate, type: evaluate, from: grpo}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "r.yaml"
    path.write_text(RECIPE)
    return load_recipe(path)


HUNDRED = Amount(100)


def of(recipe, name, rows=HUNDRED, *, tokens=None, processes=1):
    spec = recipe.stage(name)
    return described_stage(spec.type).estimate(Work(spec, recipe, RowsOf(rows, tokens), processes))


def test_sft_counts_rows_and_bounds_their_length(recipe):
    found = of(recipe, "sft")
    assert (found.batch, found.steps) == (3, Amount(2 * 34))
    assert found.trained == Amount(2 * 100 * 500, "≤")
    measured = of(recipe, "sft", tokens=Amount(120, "~"))
    assert measured.trained == Amount(2 * 100 * 120, "~")
    assert measured.seconds.value < found.seconds.value
    assert of(recipe, "sft", processes=2).steps == Amount(2 * 17)


def test_dpo_samples_then_trains_on_both_sides(recipe):
    found = of(recipe, "dpo")
    assert found.sampled == Amount(100 * 2 * 300, "≤")
    assert found.trained == Amount(200 * 2 * 400, "≤")
    assert (found.batch, found.steps) == (20, Amount(10, "≤"))


def test_grpo_follows_its_schedule(recipe):
    found = of(recipe, "grpo")
    assert found.steps == Amount(40)
    assert found.batch == 4
    assert found.sampled.value == pytest.approx(4 * (10 * 100 + 30 * 200))


def test_sampling_steps_and_evaluations_count_their_limits(recipe):
    assert of(recipe, "pool").sampled == Amount(100 * 5 * 200, "≤")
    found = of(recipe, "evaluate", questions_of(recipe).count)
    assert (found.rows, found.sampled) == (Amount(30), Amount(30 * 4 * 1000, "≤"))


def test_a_merge_takes_disk_only(recipe):
    found = of(recipe, "merge")
    assert found.disk_kept == pytest.approx(2 * 7.616e9, rel=1e-3)
    assert found.seconds is None


def test_disk_holds_all_checkpoints_while_training_and_weights_afterwards(recipe, tmp_path):
    weights = 2 * 7.616e9
    found = of(recipe, "sft")
    # TRL saves every 500 steps; 68 make one checkpoint at the end, in fp32. Adam keeps two more numbers a weight.
    assert found.disk_peak == pytest.approx(weights + 3 * 2 * weights, rel=1e-3)
    assert found.disk_kept == pytest.approx(weights + 2 * weights, rel=1e-3)


def test_unknown_rows_leave_the_rest_open(recipe):
    found = of(recipe, "sft", rows=None)
    assert (found.rows, found.steps, found.trained, found.seconds) == (None, None, None, None)
