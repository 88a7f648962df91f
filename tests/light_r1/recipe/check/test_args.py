from __future__ import annotations

import pytest

from light_r1.run.check import inspect

HEAD = """
model: {name_or_path: a/b}
data: {x: {hub: h/s}}
evaluate: {benchmarks: {b: {hub: h/b}}, n: 8, after: none}
stages:
  - {name: a, type: sft, data: x, args: {max_length: 100}}
  - {name: b, type: sft, data: x, args: {max_length: 100}}
"""


def problems(tmp_path, stage: str, world_size: int = 1) -> list[str]:
    path = tmp_path / "r.yaml"
    path.write_text(HEAD + f"  - {{name: s, {stage}}}\n")
    return [str(problem) for problem in inspect(path, world_size=world_size).problems]


NAMES = ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs")
CHECKPOINTING = ("use_reentrant: false", "preserve_rng_state: false", "early_stop: false", "debug: true")


def grpo(args: str) -> str:
    return f"type: grpo, data: x, rewards: [accuracy], args: {{{args}}}"


@pytest.mark.parametrize("world_size", [1, 2, 3, 4])
@pytest.mark.parametrize("per_device", [1, 2, 3, 4])
@pytest.mark.parametrize("accumulation", [1, 2, 8])
@pytest.mark.parametrize("generations", [2, 3, 8])
def test_whole_groups_fit_the_batch_just_as_trl_has_it(tmp_path, world_size, per_device, accumulation, generations):
    """TRL: per_device_train_batch_size x processes x gradient_accumulation_steps must be a multiple of the group."""
    args = (
        f"per_device_train_batch_size: {per_device}, gradient_accumulation_steps: {accumulation}, "
        f"num_generations: {generations}"
    )
    found = problems(tmp_path, grpo(args), world_size)
    fits = per_device * world_size * accumulation % generations == 0
    assert bool(found) != fits, found
    if found:
        assert "whole groups" in found[0]


SFT = "type: sft, data: x, args: {{max_length: 9, {}}}"


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("size", [3, 8, 24])
def test_a_batch_that_cannot_be_split_is_told_for_the_processes_at_hand(tmp_path, size, world_size):
    found = problems(tmp_path, SFT.format(f"global_batch_size: {size}, per_device_train_batch_size: 2"), world_size)
    unit = 2 * world_size
    assert bool(found) == bool(size % unit), found
    if found:
        (problem,) = found
        assert f"s.args.global_batch_size: {size} is no multiple of {unit} = " in problem
        assert "It would be with" in problem


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("global_batch_size: 8, gradient_accumulation_steps: 1", "accumulation_steps: global_batch_size is set too"),
        ("global_batch_size: 8, auto_find_batch_size: true", "would make another batch than global_batch_size"),
        ("global_batch_size: 8, accelerator_config: {split_batches: true}", "accelerator_config: split_batches"),
        (
            "global_batch_size: 8, accelerator_config: {gradient_accumulation_kwargs: {num_steps: 2}}",
            "accelerator_config: gradient_accumulation_kwargs.num_steps",
        ),
        ("global_batch_size: 0", "at least 1"),
    ],
)
def test_what_would_make_another_batch_is_refused_beside_its_size(tmp_path, args, says):
    (problem,) = problems(tmp_path, SFT.format(args))
    assert says in problem


def test_null_takes_an_inherited_accumulation_or_size_back(tmp_path):
    assert problems(tmp_path, SFT.format("global_batch_size: 8, gradient_accumulation_steps: null")) == []
    assert problems(tmp_path, SFT.format("global_batch_size: null, gradient_accumulation_steps: 3"), 5) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ("global_batch_size: 12, num_generations: 8", "12 is of no whole groups of 8; 8 or 16 would be"),
        ("global_batch_size: 16, num_generations: 8, steps_per_generation: 2", "Expected generation_batch_size"),
        ("global_batch_size: 16, num_generations: 8, generation_batch_size: 20", "multiple of num_generations 8"),
        (
            "global_batch_size: 24, num_generations: 6, per_device_train_batch_size: 8, generation_batch_size: 36",
            "36 is no multiple of 8 = per_device_train_batch_size 8 x 1 process. Expected 24 or 48",
        ),
    ],
)
def test_in_grpo_whole_groups_are_sampled_and_learnt_from(tmp_path, args, says):
    args = args if "per_device" in args else f"{args}, per_device_train_batch_size: 4"
    (problem,) = problems(tmp_path, grpo(args))
    assert says in problem


def test_sampling_more_at_once_than_a_step_learns_from_is_legal(tmp_path):
    args = "global_batch_size: 16, num_generations: 8, generation_batch_size: 64, per_device_train_batch_size: 4"
    for world_size in (1, 2, 4):
        assert problems(tmp_path, grpo(args), world_size) == []


def test_batches_are_checked_of_the_stages_that_are_to_run(tmp_path):
    path = tmp_path / "r.yaml"
    text = HEAD.replace("{max_length: 100}}\n  - {name: b", "{max_length: 100, global_batch_size: 8}}\n  - {name: b")
    off = "{name: off, enabled: false, type: sft, data: x, args: {max_length: 9, global_batch_size: 4}}"
    path.write_text(f"{text}  - {off}\n")

    def told(**which):
        return [problem.what.split(".")[0] for problem in inspect(path, world_size=3, **which).problems]

    assert told() == ["a"]
    assert told(only="b") == told(start="b") == []
    assert told(only="off") == ["off"]
    assert [str(problem) for problem in inspect(path, only="aa").problems] == [
        "--stage aa: no such stage. Expected one of a, b, off. Did you mean a?"
    ]


def test_the_advice_for_whole_groups_is_right(tmp_path):
    found = problems(tmp_path, grpo("per_device_train_batch_size: 6, num_generations: 8"))
    assert "gradient_accumulation_steps a multiple of 4" in found[0]
    fixed = "per_device_train_batch_size: 6, num_generations: 8, gradient_accumulation_steps: 4"
    assert problems(tmp_path, grpo(fixed)) == []


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        (grpo("generation_batch_size: 16, steps_per_generation: 2"), "exclude each other"),
        (grpo("generation_batch_size: 12, per_device_train_batch_size: 8"), "12 is no multiple of 8"),
        (grpo("reward_weights: [1.0]"), "the rewards carry their weights"),
        (grpo("delta: 1.2"), "trust region"),
        (grpo("epsilon_high: 0.1"), "below epsilon"),
        (grpo("auto_find_batch_size: true"), "whole groups"),
        (grpo("context_schedule: []"), "is empty"),
        (grpo("context_schedule: [{steps: 5}]"), "max_completion_length is missing"),
        (grpo("context_schedule: [{max_completion_length: 5}, {max_completion_length: 9}]"), "only the last stage"),
        (grpo("max_steps: 3, context_schedule: [{steps: 5, max_completion_length: 9}]"), "ends before the schedule"),
        ("type: sft, data: x, args: {max_length: 9, packing: true, bf16: true, fp16: true}", "exclude each other"),
        ("type: sft, data: x, args: {max_length: null, packing: true}", "packing needs a length"),
        ("type: sft, data: x, args: {max_length: 9, stop_after_epochs: 9, schedule_epochs: 3}", "the schedule ends"),
        ("type: sft, data: x, args: {max_length: 9, warmup_steps: 1.5}", "whole steps, or a share below 1"),
        ("type: sft, data: x, args: {max_length: 9, eval_strategy: steps}", "no held-out data"),
        ("type: sft, data: x, args: {max_length: 9, save_only_model: true}", "could not resume"),
        (
            "type: sft, data: x, args: {max_length: 9, lr_scheduler_type: linear, lr_scheduler_kwargs: {a: 1}}",
            "no such arg",
        ),
        ("type: dpo, data: x, args: {max_length: 9, loss_type: [sft, ipo], loss_weights: [1.0]}", "1 weights for 2"),
        ("type: dpo, data: x, args: {sync_ref_model: true}", "cannot follow the model"),
        ("type: dpo, data: x, args: {precompute_ref_log_probs: false}", "reload the reference"),
        *(
            (stage.format(args=f"{name}: {{{key}: 2}}"), f"s.args.{name}: TRL's trainer does not take {key}")
            for stage, keys in (
                ("type: dpo, data: x, args: {{max_length: 9, {args}}}", ("selective",)),
                ("type: dpo, data: x, args: {{precompute_ref_log_probs: false, {args}}}", ("every_n_layers",)),
                (
                    "type: grpo, data: x, rewards: [accuracy], args: {{{args}}}",
                    ("selective", "every_n_layers", "offload"),
                ),
            )
            for name in NAMES
            for key in keys
        ),
        *(
            (f"type: sft, data: x, args: {{max_length: 9, {name}: {{ofload: true}}}}", "Did you mean offload?")
            for name in NAMES
        ),
        ("type: dpo, data: x, sample: {n: 2, max_tokens: 4000, temperature: 1.0}", "TRL's default, not set here"),
        (
            "type: dpo, data: x, sample: {n: 1, max_tokens: 9, temperature: 1.0}, pairs: {chosen: self}",
            "one response cannot be right and wrong",
        ),
        ("type: merge, from: [a, b], args: {method: linear, weights: [1.0]}", "1 weights for 2 models"),
        ("type: merge, from: [a, b], args: {method: linear, weights: [1.0, -1.0]}", "sum to zero"),
        ("type: merge, from: [a, b], args: {method: ties, densities: [0.5, 0.5]}", "ties needs a base"),
        ("type: merge, from: [a, b], base: model, args: {method: dare_ties}", "needs densities"),
        ("type: merge, from: [a, b, model], args: {method: slerp}", "slerp goes between two models"),
        ("type: evaluate, from: a, args: {k: [16]}", "pass@16 needs 16 samples"),
        ("type: evaluate, from: a, args: {temperature: 0.0}", "all 8 samples are the same"),
    ],
)
def test_impossible_combinations_are_named(tmp_path, stage, says):
    found = problems(tmp_path, stage)
    assert any(says in text for text in found), found


@pytest.mark.parametrize(
    "stage",
    [
        grpo("delta: 1.3, epsilon: 0.2, epsilon_high: 0.28"),
        grpo("context_schedule: [{steps: 5, max_completion_length: 9}, {max_completion_length: 99}]"),
        "type: sft, data: x, args: {max_length: 9, lr_scheduler_type: constant, lr_scheduler_kwargs: {min_lr: 1}}",
        "type: sft, data: x, eval_data: x, args: {max_length: 9, eval_strategy: steps}",
        "type: dpo, data: x, args: {max_length: null}, sample: {n: 2, max_tokens: 4000, temperature: 1.0}",
        "type: dpo, data: x, rounds: 2, reference: keep, "
        "args: {max_length: 99, precompute_ref_log_probs: false, sync_ref_model: true}",
        "type: dpo, data: x, model: {lora: {r: 4}}, args: {max_length: 99, precompute_ref_log_probs: false}",
        *(
            f"type: {stage}, args: {{max_length: 9, {name}: {{{key}}}}}"
            for stage, keys in (
                ("sft, data: x", (*CHECKPOINTING, "every_n_layers: 2", "offload: true", "selective: true")),
                ("dpo, data: x", (*CHECKPOINTING, "every_n_layers: 2", "offload: true")),
            )
            for name in NAMES
            for key in keys
        ),
        *(grpo(f"{name}: {{{key}}}") for name in NAMES for key in CHECKPOINTING),
        "type: merge, from: [a, b], args: {method: slerp, weights: [0.5, 0.5]}",
        "type: evaluate, from: a, args: {temperature: 0.0, n: 1, k: [1]}",
    ],
)
def test_possible_combinations_raise_no_alarm(tmp_path, stage):
    assert problems(tmp_path, stage) == []
