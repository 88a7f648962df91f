"""A stage type outside the package: known by its source to the check and the plan, itself only to a run."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from data_tools.engine.source_file import source_file
from light_r1.errors import LightR1Error, Problem, RecipeError
from light_r1.recipe.options import source as source_module
from light_r1.recipe.options.source import find_definition, read_module
from light_r1.recipe.stage_block import stage_type
from light_r1.run.check import inspect, load_checked
from light_r1.run.plan import plan_recipe
from light_r1.stages import STAGE_TYPES, described_stage, load_stage
from tests.shared import ROOT

RECIPE = """
model: {{name_or_path: Qwen/Qwen2.5-0.5B}}
data: {{a: {{path: a.jsonl}}}}
evaluate: {{benchmarks: {{b: {{path: a.jsonl}}}}, n: 1, k: [4]}}
stages:
  - {{name: first, type: sft, data: a, args: {{max_length: 64}}}}
  - {{name: second, type: sft, data: a, args: {{max_length: 64}}}}
  - {stage}
"""
# One faulty stage of each type: too many models, rows or settings that do not fit.
FAULTY = {
    "data": "{name: s, type: TYPE, from: [first, second], "
    "steps: [{tool: sample, n: 2, temperature: 1.0, max_tokens: 9}]}",
    "sft": "{name: s, type: TYPE, from: [first, second], data: a, "
    "args: {schedule_epochs: 1, stop_after_epochs: 2, order: by_difficulty, eval_strategy: steps}}",
    "dpo": "{name: s, type: TYPE, data: a, eval_data: a, sample: {n: 1, temperature: 1.0, max_tokens: 99}, "
    "pairs: {chosen: self}, args: {max_length: 9, loss_type: [sigmoid], loss_weights: [1.0, 2.0]}}",
    "grpo": "{name: s, type: TYPE, data: a, rewards: [accuracy, accuracy], "
    "args: {num_generations: 3, per_device_train_batch_size: 4, delta: 0.5}}",
    "merge": "{name: s, type: TYPE, from: first, data: a, args: {method: ties, weights: [1.0, 2.0]}}",
    "evaluate": "{name: s, type: TYPE, from: first, data: a, args: {n: 2, temperature: 0}}",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A project with an empty subclass of each built-in type, in a module that must not be imported."""
    lines = ["import sys"]
    for dotted in STAGE_TYPES.values():
        module, _, name = dotted.partition(":")
        lines += [f"from {module} import {name}", f"class My{name}({name}):", f'    """{name}, as it is."""']
    lines.append("raise ImportError('not before a run')")
    write_types(tmp_path, "\n".join(lines))
    (tmp_path / "a.jsonl").write_text(json.dumps({"problem": "1+1?", "pass_rate": 0.5}) + "\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def write_types(folder, source):
    (folder / "own_types.py").write_text(source)
    for cached in (source_file, source_module._import_map, read_module, find_definition, stage_type):
        cached.cache_clear()
    sys.modules.pop("own_types", None)


def problems(folder, stage):
    (folder / "r.yaml").write_text(RECIPE.format(stage=stage))
    return inspect(folder / "r.yaml").problems


@pytest.mark.parametrize("name", STAGE_TYPES)
def test_an_empty_subclass_has_every_finding_of_its_base(folder, name):
    own = f"own_types:My{STAGE_TYPES[name].partition(':')[2]}"
    expected = problems(folder, FAULTY[name].replace("TYPE", name))
    assert len(expected) >= 2, expected
    named = [Problem(p.where, *(t.replace(own, name) for t in (p.what, p.expected, p.hint)))
             for p in problems(folder, FAULTY[name].replace("TYPE", f'"{own}"'))]  # fmt: skip
    assert named == list(expected)


@pytest.mark.parametrize("name", STAGE_TYPES)
def test_a_described_type_has_the_class_variables_of_its_base(folder, name):
    built_in = load_stage(name)
    described = described_stage(f"own_types:My{type(built_in).__name__}")
    for variable in (
        "version",
        "makes",
        "output",
        "args_class",
        "options_class",
        "reads",
        "data",
        "models",
        "trains",
        "held_out",
    ):
        assert getattr(described, variable) == getattr(built_in, variable)


def test_class_variables_that_a_type_sets_are_read(folder):
    write_types(
        folder,
        "from light_r1.stages.sft import SFTStage\nclass Pair(SFTStage):\n    version = 7\n    models = (2, 3)\n",
    )
    stage = '{name: s, type: "own_types:Pair", data: a, from: [first, second], args: {max_length: 9}}'
    assert described_stage("own_types:Pair").version == 7
    assert not [p for p in problems(folder, stage) if ".from" in p.what]
    assert "a own_types:Pair of 1 model" in problems(folder, stage.replace("[first, second]", "first"))[0].what


@pytest.mark.parametrize(
    "lines",
    [
        "import light_r1.stages.sft as other\nclass Mine(other.SFTStage):\n    pass\n",
        "from light_r1 import stages\nimport light_r1.stages.sft\nclass Mine(stages.sft.SFTStage):\n    pass\n",
        "from light_r1.stages.sft import SFTStage\nBase = SFTStage\nclass Mine(Base):\n    pass\n",
    ],
)
def test_a_base_is_found_however_it_is_named(folder, lines):
    write_types(folder, lines)
    assert stage_type("own_types:Mine").built_in == STAGE_TYPES["sft"]
    assert issubclass(type(load_stage("own_types:Mine")), type(load_stage("sft")))


def test_a_stage_that_writes_nothing_is_not_done_and_changed_code_runs_again(folder):
    (folder / "r.yaml").write_text(
        "data: {a: {path: a.jsonl}}\nstages:\n  - {name: s, type: 'own_types:Mine', data: a}\n"
    )
    head = "from light_r1.stages.base import Stage, StageResult\nclass Mine(Stage):\n"
    head += "    makes = 'rows'\n    output = 'r.jsonl'\n"
    run = "    def run(self, job):\n        {}\n        return StageResult()\n"
    write = run.format("(job.dir.output / 'r.jsonl').write_text('')")

    def command():
        words = [sys.executable, "-m", "light_r1.run", "r.yaml"]
        path = {"PYTHONPATH": f"{ROOT}:{folder}", "PATH": "", "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.run(words, capture_output=True, text=True, env=path)

    (folder / "own_types.py").write_text(head + run.format("pass"))
    done = command()
    assert done.returncode == 1
    assert "ended without writing" in done.stderr
    (folder / "own_types.py").write_text(head + write)
    assert command().returncode == 0
    assert "skipped" in command().stdout
    (folder / "own_types.py").write_text(head + write + "    # changed\n")
    assert "code of own_types" in command().stdout


def test_what_is_no_stage_is_named(folder):
    write_types(folder, "class Nothing:\n    makes = 'model'\n")
    found = problems(folder, '{name: s, type: "own_types:Nothing", data: a}')
    assert "derives from none" in str(found[0])


def test_a_run_asks_the_types_own_checks_first(folder):
    write_types(
        folder,
        "from light_r1.stages.merge import MergeStage\n"
        "class Mine(MergeStage):\n"
        "    def check(self, spec, findings, *, world_size):\n"
        "        findings.at(f'{spec.name}.args', 'only I know this')\n",
    )
    stage = '{name: s, type: "own_types:Mine", from: [first, second], args: {method: linear}}'
    (folder / "r.yaml").write_text(RECIPE.format(stage=stage))
    told = [str(p) for p in inspect(folder / "r.yaml").problems]
    assert not any("only I know this" in text for text in told)
    told = [str(p) for p in inspect(folder / "r.yaml", trust=True).problems]
    assert any("only I know this" in text for text in told)
    command = [sys.executable, "-m", "light_r1.cli", "check", "--trust", "r.yaml"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": f"{ROOT}:{folder}", "PATH": ""})
    assert done.returncode == 2
    assert "only I know this" in done.stderr


def test_a_type_with_settings_of_its_own_is_not_judged_by_its_base(folder):
    write_types(
        folder,
        "from dataclasses import dataclass\nfrom light_r1.stages.sft import SFTStage\n"
        "@dataclass\nclass Args:\n    strength: float = 1.0\n"
        "class Mine(SFTStage):\n    args_class = 'own_types:Args'\n"
        "class Broken(SFTStage):\n    def check(self, spec, findings, *, world_size):\n        1 / 0\n",
    )
    stage = '{name: s, type: "own_types:Mine", data: a, args: {strength: 2}}'
    mine = [problem for problem in problems(folder, stage) if problem.what.startswith("s")]
    assert not mine
    trusted = inspect(folder / "r.yaml", trust=True)
    assert not [problem for problem in trusted.problems if problem.what.startswith("s")]
    assert any("s: own_types:Mine has no setting" in note for note in trusted.notes)
    problems(folder, stage.replace("Mine", "Broken").replace("strength", "max_length"))
    broken = [p.what for p in inspect(folder / "r.yaml", trust=True).problems if "failed in own_types.py:10" in p.what]
    assert broken == ["s.type: own_types:Broken failed in own_types.py:10: ZeroDivisionError: division by zero"]


@pytest.mark.parametrize("source", ["1 / 0\n", "", "    def run(self): ...\n    def __init__(self, x): ...\n"])
def test_a_type_that_cannot_be_loaded_is_a_problem_of_the_recipe(folder, source):
    lines = "from light_r1.stages.base import Stage\nclass Mine(Stage):\n    makes = 'model'\n"
    write_types(folder, source + lines if source.startswith("1") else lines + source)
    problems(folder, '{name: s, type: "own_types:Mine", data: a}')
    told = [p.what for p in inspect(folder / "r.yaml", trust=True).problems if p.what.startswith("s.type")]
    assert len(told) == 1
    assert "own_types:Mine failed in" in told[0]


def test_a_plan_knows_types_whose_options_are_their_own(folder):
    write_types(
        folder,
        "from dataclasses import dataclass\nfrom light_r1.stages.data import DataStage\n"
        "@dataclass\nclass Options:\n    column: str = 'problem'\n"
        "class Mine(DataStage):\n    options_class = 'own_types:Options'\n"
        "    def files(self, spec, recipe): return {}\n",
    )
    (folder / "r.yaml").write_text(
        "data: {a: {path: a.jsonl}}\nstages:\n  - {name: s, type: 'own_types:Mine', data: a, column: answer}\n"
    )
    (folder / "runs" / "r").mkdir(parents=True)
    assert [stage.action for stage in plan_recipe(load_checked(folder / "r.yaml").recipe).stages] == ["run"]


def test_a_plan_imports_no_type_of_ones_own(folder):
    (folder / "a.jsonl").write_text(
        json.dumps({"problem": "1+1?", "answer": "2", "solution": "<think>\n1\n</think>\n\n2"}) + "\n"
    )
    stage = '{name: s, type: "own_types:MySFTStage", data: a, args: {max_length: 64}}'
    (folder / "r.yaml").write_text(RECIPE.format(stage=stage).replace("k: [4]", "k: [1]"))
    (folder / "runs" / "r").mkdir(parents=True)
    plan = plan_recipe(load_checked(folder / "r.yaml").recipe)
    assert [stage.action for stage in plan.stages] == ["run", "run", "run"]
    assert plan.stages[-1].estimate.steps == plan.stages[0].estimate.steps
    with pytest.raises(LightR1Error, match="not before a run"):
        load_stage("own_types:MySFTStage")
    with pytest.raises(RecipeError, match="not before a run"):
        load_checked(folder / "r.yaml", trust=True)
