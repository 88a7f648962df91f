from __future__ import annotations

import pytest

from light_r1.errors import RecipeError
from light_r1.run.check import inspect, load_checked

HEAD = "model: {name_or_path: a/b}\ndata: {x: {hub: h/s}, y: {hub: h/t}}\n"
SFT = "type: sft, data: x, args: {max_length: 9}"
FILTER = "name: d, type: data, data: y, steps: [{tool: difficulty, max_pass_rate: 0.5}]"
BENCH = "evaluate: {benchmarks: {b: {hub: h/b}}, after: %s}\n"


def problems(tmp_path, *stages: str, head: str = HEAD) -> list[str]:
    path = tmp_path / "r.yaml"
    path.write_text(head + "stages:\n" + "".join(f"  - {{{stage}}}\n" for stage in stages))
    return [str(problem) for problem in inspect(path).problems]


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ([f"name: a, from: a, {SFT}"], "a.from: a would start from itself: a cycle"),
        ([f"name: a, from: b, {SFT}", f"name: b, from: a, {SFT}"], "a cycle"),
        ([f"name: a, from: b, {SFT}", f"name: b, {SFT}"], "b comes later"),
        ([f"name: first, {SFT}", f"name: b, from: frist, {SFT}"], "Did you mean first?"),
        ([f"name: a, from: [model, model], {SFT}"], "2 models"),
        ([f"name: a, enabled: false, {SFT}", f"name: b, from: a, {SFT}"], "a is not enabled"),
        ([f"name: a, {SFT}", "name: m, type: merge, from: a, args: {method: linear}"], "a merge of 1 model"),
        ([f"name: a, {SFT}", "name: m, type: merge, from: [a, a], args: {method: linear}"], "names a model twice"),
        ([f"name: a, {SFT}", "name: e, type: evaluate, from: a"], "nothing to evaluate on"),
        (["name: a, type: sft, args: {max_length: 9}"], "data is missing"),
        (["name: a, type: sft, data: z, args: {max_length: 9}"], "no source or data stage called z"),
        ([f"name: a, {SFT}", "name: b, type: sft, data: a, args: {max_length: 9}"], "a makes model, no rows"),
        (
            ["name: d, type: data, data: x, steps: [{tool: difficulty}]", f"name: b, from: d, {SFT}"],
            "d makes rows, no model",
        ),
        ([f"name: x, {SFT}"], "a data source has the same name"),
        (["name: a, type: grpo, data: x, eval_data: y, rewards: [accuracy]"], "a grpo stage has no held-out data"),
        (
            [f"name: a, {SFT}", "name: m, type: merge, data: x, from: [a, model], args: {method: linear}"],
            "takes no data",
        ),
    ],
)
def test_faults_of_the_graph_are_named(tmp_path, stages, says):
    found = problems(tmp_path, *stages)
    assert any(says in text for text in found), found


@pytest.mark.parametrize(
    ("head", "says"),
    [
        (HEAD + BENCH % "[nothing]", "no stage called nothing"),
        (HEAD + "evaluate: {after: all}\n", "there are no benchmarks"),
        (HEAD + "evaluate: {benchmarks: {b: {mix: [{source: x}]}}}\n", "a benchmark cannot be a mixture"),
        (HEAD + "chat: {think_tokens: [a, a]}\n", "an opening and a closing marker"),
        (HEAD + "chat: {think_tokens: [], add_think_tokens: true}\n", "there are no think_tokens to add"),
        (HEAD.replace("x: {hub: h/s}", "x: {mix: [{source: x}]}"), "x contains itself"),
        (HEAD.replace("x: {hub: h/s}", "x: {mix: [{source: yy}]}"), "Did you mean y?"),
        (HEAD.replace("x: {hub: h/s}", "x: {path: none.jsonl}"), "no file none.jsonl"),
        (HEAD.replace("x: {hub: h/s}", "x: {hub: h/s, path: a.jsonl}"), "exactly one of path, hub"),
        (HEAD.replace("x: {hub: h/s}", 'x: {generator: "no_pkg:f"}'), "no_pkg:f cannot be found"),
        (HEAD.replace("x: {hub: h/s}", "x: {hub: ./h/s}"), "is no name on the hub"),
        (HEAD.replace("x: {hub: h/s}", "x: {hub: h/s, columns: {problems: q}}"), "Did you mean problem?"),
    ],
)
def test_faults_of_blocks_are_named(tmp_path, head, says):
    found = problems(tmp_path, f"name: a, {SFT}", head=head)
    assert any(says in text for text in found), found


@pytest.mark.parametrize(
    ("stages", "says"),
    [
        ([f"name: a, {SFT}", FILTER], "a.data: x holds the rows of d, which comes later"),
        (
            [FILTER.replace("data: y", "data: y, enabled: false"), f"name: a, {SFT}"],
            "the rows of d, which is not enabled",
        ),
        ([FILTER.replace("data: y", "data: x"), f"name: a, {SFT}"], "d.data: x holds the rows of d"),
        ([f"name: d, {SFT.replace('data: x', 'data: y')}", f"name: a, {SFT}"], "no source or data stage called d"),
    ],
)
def test_a_mixture_holds_the_rows_of_earlier_data_stages_only(tmp_path, stages, says):
    head = HEAD.replace("x: {hub: h/s}", "x: {mix: [{source: d}, {source: y}]}")
    found = problems(tmp_path, *stages, head=head)
    assert any(says in text for text in found), found
    assert problems(tmp_path, FILTER, f"name: a, {SFT}", head=head) == []


def test_a_right_graph_raises_no_alarm(tmp_path):
    found = problems(
        tmp_path,
        f"name: a, {SFT}",
        "name: d, type: data, from: a, data: y, steps: [{tool: sample, n: 2, temperature: 1.0, max_tokens: 9}]",
        "name: b, type: sft, from: a, data: d, args: {max_length: 9}",
        "name: m, type: merge, from: [a, b], base: model, args: {method: ties, densities: [0.5, 0.5]}",
        "name: e, type: evaluate, from: m",
        head=HEAD + BENCH % "[a]",
    )
    assert found == []


def test_one_fault_of_many_stages_is_told_once(tmp_path):
    found = problems(
        tmp_path,
        f"name: a, {SFT}",
        f"name: b, {SFT}",
        f"name: c, {SFT}",
        head=HEAD + "defaults: {args: {fp16: true, bf16: true}}\n",
    )
    assert len(found) == 1
    assert "(also in b, c)" in found[0]


def test_faults_are_raised_together_and_right_recipes_come_with_notes(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_text(HEAD + f"sed: 1\nstages:\n  - {{name: a, from: b, {SFT}}}\n")
    with pytest.raises(RecipeError) as caught:
        load_checked(path)
    assert len(caught.value.problems) == 2
    checked = load_checked("light_r1_7b_ds")
    assert any("on the hub, so not read: data.stage2" in note for note in checked.notes)


def test_the_number_of_processes_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "5")
    with pytest.raises(RecipeError, match="5 processes"):
        load_checked("open_rs_1.5b")


CLEAN = "name: clean, type: data, data: x, steps: [{tool: dedup}]"


def test_a_recipe_of_data_tools_alone_needs_no_model(tmp_path):
    head = HEAD.partition("\n")[2]
    assert problems(tmp_path, CLEAN, head=head) == []
    sampling = "name: tried, type: data, data: x, steps: [{tool: sample, n: 2, temperature: 1.0, max_tokens: 9}]"
    for stage, name in ((sampling, "tried"), (f"name: a, {SFT}", "a")):
        (problem,) = problems(tmp_path, CLEAN, stage, head=head)
        assert f"model: is missing, and {name} needs one" in problem
