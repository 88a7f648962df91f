"""The embedded curriculum: its problems are right, its split is clean, its tokenizer survives being saved."""

import re

import pytest

from data_tools.verify import verify
from light_r1.chat import ChatFormat
from light_r1.errors import DataError
from light_r1.recipe import load_recipe
from light_r1.tiny import drills, problems, recalls
from light_r1.tiny_tokenizer import NAMES, THINGS, build_tokenizer, word_merges

FACTORS = {"twice as many as": 2, "three times as many as": 3}


@pytest.fixture(scope="module")
def tiny_tokenizer():
    return build_tokenizer()


def solve(problem):
    """Solve a problem from its English alone, and return the value of every person."""
    *facts, question = problem.split(". ")
    value = {}
    while len(value) < len(facts):  # they come in any order
        for fact in facts:
            name, rest = fact.split(" has ")
            start = re.fullmatch(r"(\d+) (\w+)", rest)
            more = re.fullmatch(r"(\d+) (more|fewer) than (\w+)", rest)
            times = re.fullmatch(r"(twice as many as|three times as many as) (\w+)", rest)
            if start:
                value[name] = int(start[1])
            elif more and more[3] in value:
                value[name] = value[more[3]] + int(more[1]) * (1 if more[2] == "more" else -1)
            elif times and times[2] in value:
                value[name] = value[times[2]] * FACTORS[times[1]]
    asked = re.fullmatch(r"How many \w+ does (\w+) have\?", question)[1]
    return value, value[asked]


def without_names(solution):
    return re.sub("|".join(NAMES) + "|" + "|".join(THINGS), "_", solution)


def test_every_answer_is_what_the_english_says():
    for row in problems(n=400, seed=1, max_steps=8):
        value, answer = solve(row["problem"])
        assert row["answer"] == str(answer)
        assert row["difficulty"] == len(value) - 1
        assert verify(row["solution"], row["answer"]).correct


def test_every_line_of_a_thought_is_true():
    for row in problems(n=200, seed=2, max_steps=8):
        value, _ = solve(row["problem"])
        thought = row["solution"].removeprefix("<think>\n").partition("\n</think>")[0]
        for line in thought.splitlines():
            name, said = line.split(" has ")
            sums = said.rpartition(": ")[2].split("=")
            assert [eval(text) for text in sums] == [value[name]] * len(sums)
            assert f"{name} has {said.partition(':')[0]}" in row["problem"]


def test_a_short_answer_has_no_thought():
    for row in problems(n=50, seed=3, max_steps=3, style="short"):
        assert "think" not in row["solution"]
        assert verify(row["solution"], row["answer"]).correct


def test_drills_are_true_and_go_on_with_the_result_before():
    for row in drills(n=50, seed=4, sums=6):
        sums = [line.split("=") for line in row["text"].splitlines()]
        assert len(sums) == 6
        assert all(eval(asked) == int(result) for asked, result in sums)
        assert [re.split(r"[-+*]", asked)[0] for asked, _ in sums[1:]] == [result for _, result in sums[:-1]]


def test_recalls_say_the_same_facts_twice_in_another_order():
    texts = [row["text"].splitlines() for row in recalls(n=20, seed=4, facts=5)]
    assert all(len(lines) == 10 and sorted(lines[:5]) == sorted(lines[5:]) for lines in texts)
    assert any(lines[:5] != lines[5:] for lines in texts)


def test_facts_come_in_any_order():
    firsts = {
        row["problem"].partition(" has ")[0] == row["solution"].split()[1]
        for row in problems(n=50, seed=1, min_steps=3, max_steps=3)
    }
    assert firsts == {True, False}


def test_no_heldout_problem_is_a_training_problem_with_other_names():
    train = {without_names(r["solution"]) for seed in range(3) for r in problems(n=3000, seed=seed, max_steps=2)}
    heldout = {without_names(r["solution"]) for r in problems(n=300, seed=0, max_steps=2, split="heldout")}
    # With this many short ones, chance alone would have them overlap.
    other = {without_names(r["solution"]) for r in problems(n=300, seed=9, max_steps=2)}
    assert train & other
    assert not train & heldout


def test_problems_are_distinct_seeded_and_spread_over_the_steps():
    first = list(problems(n=500, seed=5, min_steps=3, max_steps=6))
    assert first == list(problems(n=500, seed=5, min_steps=3, max_steps=6))
    assert first[:100] != list(problems(n=100, seed=6, min_steps=3, max_steps=6))
    assert len({row["problem"] for row in first}) == len({row["id"] for row in first}) == 500
    counts = [sum(row["difficulty"] == steps for row in first) for steps in range(3, 7)]
    assert sum(counts) == 500
    assert min(counts) > 80


@pytest.mark.parametrize("steps", [(0, 3), (4, 3), (1, len(NAMES))])
def test_steps_out_of_range_are_refused(steps):
    with pytest.raises(DataError, match="steps"):
        next(problems(n=1, seed=0, min_steps=steps[0], max_steps=steps[1]))


def test_any_text_survives_the_tokenizer(tiny_tokenizer):
    texts = [row[key] for row in problems(n=100, seed=7, max_steps=8) for key in ("problem", "solution")]
    texts += [row["text"] for row in [*drills(n=20, seed=7), *recalls(n=20, seed=7)]]
    for text in [*texts, "Größe ≤ 12\t%", "<think>\n\\boxed{1/2}\n\n</think>"]:
        assert tiny_tokenizer.decode(tiny_tokenizer.encode(text)) == text


def test_words_names_and_digits_are_one_token_each(tiny_tokenizer):
    for name in NAMES:
        assert tiny_tokenizer.tokenize(f"{name}=1 {name}.") == [name, "=", "1", "Ġ", name, "."]
    for thing in THINGS:
        assert tiny_tokenizer.tokenize(f" {thing}") == [f"Ġ{thing}"]
    assert tiny_tokenizer.tokenize("12 \\boxed{34}") == ["1", "2", "Ġ\\", "boxed", "{", "3", "4", "}"]
    assert len(tiny_tokenizer) < 500


def test_words_that_share_beginnings_and_repeat_letters_become_one_token():
    words = ["than", "that", "hat", "mama", "three", "there", "aaaa", "Ġthe"]
    from tokenizers import Tokenizer, models

    merges = word_merges(words)
    pieces = [*"thanmareeĠ", *(left + right for left, right in merges)]
    vocabulary = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    core = Tokenizer(models.BPE(vocabulary, merges))
    assert [core.encode(word).tokens for word in words] == [[word] for word in words]


def test_a_saved_tokenizer_is_the_same_beside_a_qwen2_model(tiny_tokenizer, tmp_path):
    from transformers import AutoTokenizer, Qwen2Config

    tiny_tokenizer.save_pretrained(tmp_path)
    Qwen2Config().save_pretrained(tmp_path)  # its model_type is what AutoTokenizer goes by
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for row in problems(n=50, seed=8, max_steps=8):
        text = f"{row['problem']}<|im_end|>\n{row['solution']}"
        assert loaded.encode(text) == tiny_tokenizer.encode(text)
    assert (loaded.pad_token, loaded.eos_token) == ("<|endoftext|>", "<|im_end|>")


def test_worked_solutions_render_with_their_thought_and_fit(tiny_tokenizer):
    chat, tiny = ChatFormat(tiny_tokenizer), load_recipe("recipes/tiny.yaml")
    longest = tiny.evaluate.benchmarks["hard"].options["max_steps"]
    for row in problems(n=50, seed=9, min_steps=longest, max_steps=longest):
        assert chat.fault(row["solution"]) is None
        rendered = chat.render(row["problem"], row["solution"])
        text = tiny_tokenizer.decode(rendered.input_ids)
        assert text == (
            f"<|im_start|>user\n{row['problem']}<|im_end|>\n<|im_start|>assistant\n{row['solution']}<|im_end|>"
        )
        assert len(rendered.input_ids) <= tiny.stage("sft-stage2").args["max_length"]
        assert len(rendered.completion_ids) <= tiny.evaluate.max_tokens


def test_smoke_has_the_graph_of_tiny():
    tiny, smoke = load_recipe("recipes/tiny.yaml"), load_recipe("recipes/smoke.yaml")
    assert [(s.name, s.type, s.inputs, s.data) for s in smoke.stages] == [
        (s.name, s.type, s.inputs, s.data) for s in tiny.stages
    ]
    types = [stage.type for stage in tiny.stages if stage.type != "evaluate"]
    assert types == ["sft", "sft", "data", "sft", "dpo", "merge", "grpo"]


def test_tiny_is_scored_on_enough_questions_that_no_stage_trains_on():
    tiny = load_recipe("recipes/tiny.yaml")
    benchmark = tiny.evaluate.benchmarks["hard"].options
    assert benchmark["n"] >= 200
    assert tiny.evaluate.n >= 8
    assert benchmark["split"] == "heldout"
    assert all(source.options.get("split", "train") == "train" for source in tiny.data.values())
