"""Every tool has one implementation and three ways in; its docstring is its contract."""

from __future__ import annotations

import inspect
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from data_tools.__main__ import main
from data_tools.engine.catalogue import TOOLS, load_tool, tool_doc
from data_tools.engine.execution import Execution, executing
from data_tools.engine.fold import fold
from data_tools.engine.run_tool import canonical_rows
from data_tools.errors import DataToolsError
from data_tools.rows.columns import to_canonical
from data_tools.rows.files import read_rows, write_rows
from data_tools.rows.row import Dropped
from tests.shared import ROOT

RECIPES = ROOT / "recipes"
# What a tool needs, or what makes it drop something of the sample.
OPTIONS = {
    "balance": {"by": "source", "cap": 5},
    "convert": {"to": "messages"},
    "decontaminate": {"benchmarks": [str(RECIPES / "data" / "aime_2024_2025.jsonl")]},
    "difficulty": {"max_pass_rate": 0.9},
    "filter_language": {"unsure": "drop"},
    "filter_length": {"max_length": 3000},
    "filter_repetition": {"max_share": 0.0, "ngram": 10},
    "perturb": {"kind": "shuffle"},
    "segment": {"keep": "short"},
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """A file of 20 published problems with traces, pass rates and predictions."""
    path = tmp_path_factory.mktemp("sample") / "in.jsonl"
    rows = islice(read_rows(RECIPES / "data" / "gsm8k_traces.jsonl"), 20)
    write_rows(path, [{**row, "source": "ab"[n % 3 == 0], "prediction": row["answer"]} for n, row in enumerate(rows)])
    return path


def options_of(tool, folder):
    return {"page": str(folder / "page.html")} if tool == "stats" else OPTIONS.get(tool, {})


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_is_a_function_of_rows_with_keyword_options(tool):
    function = load_tool(tool)
    rows, *options = inspect.signature(function).parameters.values()
    assert rows.name == "rows" and rows.kind is rows.POSITIONAL_OR_KEYWORD
    assert all(option.kind is option.KEYWORD_ONLY for option in options)
    assert [option.name for option in options] == list(tool_doc(tool).options)
    defaults = {name: option.default for name, option in tool_doc(tool).options.items() if not option.required}
    assert defaults == {o.name: o.default for o in options if o.default is not o.empty}


@pytest.mark.parametrize("tool", TOOLS)
def test_every_option_and_the_tool_itself_are_explained(tool, capsys):
    doc = tool_doc(tool)
    assert doc.summary.endswith(".") and len(doc.summary) < 140
    assert [name for name, option in doc.options.items() if not option.help] == []
    with pytest.raises(SystemExit) as end:
        main([tool, "--help"])
    text = capsys.readouterr().out
    assert end.value.code == 0 and doc.summary in text
    assert all(f"--{name.replace('_', '-')}" in text for name in doc.options)


PROBLEM = "Anna buys 3 red pens and 4 blue books, pays with one note of 50, and gets 12 back. What does a book cost?"
LONG = f"{PROBLEM} She had saved the money for many weeks before she went to the shop with her brother."
TRACE = "<think>3 + 4 = 7.</think>It is \\boxed{7}."
FILE = Path("file.jsonl")  # what a case puts there is written before the tool runs


def trace(solution=TRACE, **more):
    return {"problem": "3+4?", "answer": "7", "solution": solution, **more}


def answered(answer, problem="Find it."):
    return {"problem": problem, "answer": answer}


def judged(n_correct, n, **more):
    return {"problem": "1+1?", "n_correct": n_correct, "n": n, **more}


def contaminated(test, problem, benchmark):
    return [answered("3", problem)], {"tests": [test], "benchmarks": [FILE]}, [answered("3", benchmark)]


FAULTS_OF_THOUGHT = {
    "no_think": trace("It is 7."),
    "unclosed_think": trace("<think>3 + 4 ="),
    "ambiguous_think": trace("<think>a</think>b</think>c"),
    "no_answer_text": trace("<think>7</think>"),
}
# Tool -> reason -> (rows that are kept or dropped for this reason, options[, rows of FILE]).
TRIGGERS = {
    "extract": {
        "no_answer": ([trace("We do not know.", answer=None)], {}),
        "low_confidence": ([trace("So we get 7.", answer=None)], {"min_confidence": 1.0}),
    },
    "gradable": {
        "no_answer": ([answered(""), answered(None), answered("2")], {}),
        "too_long": ([answered("12345"), answered("1234")], {"max_chars": 4}),
        "proof": ([answered("2", "Prove that $n$ is even.")], {}),
        "needs_figure": ([answered("2", "In the figure below, find $x$.")], {}),
        "letter": ([answered("C", "Which one?")], {}),
        "free_text": ([answered("the big brown dog")], {}),
        "unbounded": ([answered("2^{2^{100000}}")], {}),
        "unparsable": ([answered("\\frac{1}{")], {}),
    },
    "dedup": {
        "same_text": ([answered("3", "Find $x$: $2x=6$."), answered("3", "Determine $y$: \\(2y = 6\\).")], {}),
        "same_problem": ([answered("3", LONG), answered("3", LONG.replace("Anna", "Olga"))], {}),
        "similar": ([answered("3", LONG), answered("3", f"{LONG} Say.")], {"method": "cosine", "threshold": 0.9}),
    },
    "decontaminate": {
        "exact": contaminated("exact", "2 + 2, is?", "5+5 is"),
        "ngram32": contaminated("ngram32", f"Also: {LONG}", LONG),
        "ngram8": contaminated("ngram8", LONG[-60:], LONG),
        "containment": contaminated("containment", f"{LONG} Say why.", LONG),
        "template": contaminated("template", LONG.replace("50", "70"), LONG),
        "signature": contaminated("signature", "Find $y$: $2y=6$.", "Find $x$: $2x=6$."),
    },
    "difficulty": {
        "too_easy": ([judged(3, 4), judged(1, 4)], {"max_pass_rate": 0.5}),
        "too_hard": ([judged(1, 4), judged(3, 4)], {"min_pass_rate": 0.5}),
        "all_right": ([judged(4, 4), judged(1, 4)], {"mixed": True}),
        "all_wrong": ([judged(0, 4), judged(1, 4)], {"mixed": True}),
        "uncertain": ([judged(2, 4)], {"min_pass_rate": 0.4, "max_pass_rate": 0.6, "interval": "inside"}),
        "too_few_samples": ([judged(2, 4), judged(2, 5)], {"min_n": 5}),
        "no_rollouts": ([judged(0, 0), judged(1, 2)], {}),
        "no_score": ([judged(1, 2, score=None)], {"score_column": "score"}),
        "low_score": ([judged(1, 2, score=1), judged(1, 2, score=2)], {"score_column": "score", "min_score": 2}),
        "high_score": ([judged(1, 2, score=2), judged(1, 2, score=1)], {"score_column": "score", "max_score": 1}),
    },
    "segment": {
        "short": ([answered("3", "ab"), answered("3", "abcd")], {"keep": "long"}),
        "long": ([answered("3", "ab"), answered("3", "abcd")], {"keep": "short"}),
    },
    "balance": {"over_cap": ([trace(source="a"), trace(source="a")], {"by": "source", "cap": 1})},
    "perturb": {
        "right": ([trace(), trace(answer="8")], {"kind": "wrong"}),
        "ungraded": ([trace(answer="")], {"kind": "wrong"}),
        **{reason: ([row, trace()], {"kind": "digits"}) for reason, row in FAULTS_OF_THOUGHT.items()},
        "no_steps": ([trace()], {"kind": "delete", "steps": FILE}, [{"steps": ["Another ", "thought."]}]),
        "no_other_steps": ([trace()], {"kind": "insert"}),
    },
    "verify": {
        "right": ([trace(prediction="7")], {"keep": ["wrong"]}),
        "wrong": ([trace(prediction="8")], {"keep": ["right"]}),
        "unparsable": ([trace(prediction="")], {"keep": ["right"]}),
    },
    "normalize_think": {reason: ([row, trace()], {}) for reason, row in FAULTS_OF_THOUGHT.items()},
    "convert": {
        "no_prompt": ([{"solution": "2"}], {"to": "messages"}),
        "no_completion": ([answered("2")], {"to": "messages"}),
        "no_pair": ([trace()], {"to": "preference"}),
        "same_pair": ([trace(rejected=TRACE)], {"to": "preference"}),
        "several_turns": (
            [{"messages": [{"role": role, "content": "x"} for role in ("user", "assistant") * 2]}],
            {"to": "prompt_completion"},
        ),
    },
    "filter_length": {
        "too_short": ([trace("abc"), trace("abcd")], {"min_length": 4}),
        "too_long": ([trace("abc"), trace("abcd")], {"max_length": 3}),
    },
    "filter_repetition": {"repetition": ([trace("so we go on " * 50), trace()], {"ngram": 3})},
    "filter_language": {
        "other_language": ([answered("3", "Wie viele Stifte hat das Kind, und was kostet ein Buch?")], {}),
        "mixed_language": ([answered("3", f"{LONG} 她买了三支红笔和四本蓝书 一本书多少钱")], {}),
        "unsure_language": ([answered("3", "$x^2=4$")], {"unsure": "drop"}),
    },
    "stats": {},
}


@pytest.mark.parametrize(("tool", "reason"), [(tool, reason) for tool, cases in TRIGGERS.items() for reason in cases])
def test_a_documented_reason_is_what_drops_a_row(tool, reason, tmp_path, monkeypatch):
    rows, options, *of_file = TRIGGERS[tool][reason]
    monkeypatch.chdir(tmp_path)
    for content in of_file:
        write_rows(FILE, content)
    results = list(load_tool(tool)(rows, **options))
    assert len(results) == len(rows)
    assert {item.reason for item in results if isinstance(item, Dropped)} == {reason}


def test_every_documented_reason_drops_a_row_here():
    documented = {tool: set(tool_doc(tool).drops) for tool in TOOLS}
    assert {tool: set(cases) for tool, cases in TRIGGERS.items()} == documented


@pytest.mark.parametrize("tool", TOOLS)
def test_function_fold_and_command_give_the_same_rows(tool, sample, tmp_path):
    options = options_of(tool, tmp_path)
    results = list(load_tool(tool)(canonical_rows(sample), **options_as_paths(tool, options)))
    kept = [dict(row) for row in results if not isinstance(row, Dropped)]
    dropped = [item for item in results if isinstance(item, Dropped)]
    assert {item.reason for item in dropped} <= set(tool_doc(tool).drops)
    aside = []
    folded = fold(canonical_rows(sample), [(tool, options)], on_dropped=lambda _, item: aside.append(item))
    assert [dict(row) for row in folded] == kept
    assert [item.reason for item in aside] == [item.reason for item in dropped]
    assert main([tool, str(sample), str(tmp_path / "out.jsonl"), *words(options)]) == 0
    assert [dict(row) for row in read_rows(tmp_path / "out.jsonl")] == kept
    written = [(item["reason"], item["row"]) for item in read_rows(tmp_path / "out.jsonl.dropped.jsonl")]
    assert written == [(item.reason, item.row) for item in dropped]


ODD = [None, "", [], {}, 7, float("nan"), True, "x", ["a"], "\ud800", "\x00", "$" * 50, "\\boxed{" * 5]
GOOD = {"problem": "What is 1+1?", "solution": "<think>a</think>It is \\boxed{2}.", "answer": "2", "prediction": "2"}
GOOD |= {"source": "s", "n_correct": 1, "n": 2}


@pytest.mark.parametrize("tool", TOOLS)
def test_no_value_of_any_type_ends_a_run_that_skips_errors(tool, tmp_path):
    columns = (*GOOD, "messages", "responses", "pass_rate", "rejected", "system")
    rows = [{}, GOOD, *({**GOOD, column: value} for column in columns for value in ODD)]
    aside = []
    with executing(Execution(on_error="skip")):
        folded = fold(
            canonical(rows),
            [(tool, options_of(tool, tmp_path))],
            on_dropped=lambda _, item: aside.append(item),
            on_error="skip",
        )
        kept = list(folded)
    assert len(kept) + len(aside) == folded.counts[0].rows_in
    assert {item.reason for item in aside} <= {"malformed", *tool_doc(tool).drops}


def canonical(rows):
    for row in rows:
        with suppress(DataToolsError):
            yield to_canonical(row)


def options_as_paths(tool, options):
    table = tool_doc(tool).options
    return {n: [Path(p) for p in v] if "Path" in table[n].kinds else v for n, v in options.items()}


def words(options):
    found = []
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        found += [f"--{name.replace('_', '-')}", *map(str, values)]
    return found


@pytest.mark.slow  # imports torch and writes a run folder
def test_recipe_steps_give_the_same_rows_as_commands(sample, tmp_path):
    import yaml

    from light_r1.run.__main__ import main as run

    stages = [
        {"name": tool, "type": "data", "data": "sample", "steps": [{"tool": tool, **options_of(tool, tmp_path)}]}
        for tool in TOOLS
    ]
    recipe = {"name": "all", "output_dir": str(tmp_path / "runs"), "model": {"name_or_path": "none/needed"}}
    recipe |= {"data": {"sample": {"path": str(sample)}}, "stages": stages}
    (tmp_path / "all.yaml").write_text(yaml.safe_dump(recipe))
    assert run([str(tmp_path / "all.yaml")]) == 0
    for tool in TOOLS:
        assert main([tool, str(sample), str(tmp_path / "out.jsonl"), *words(options_of(tool, tmp_path))]) == 0
        stage = tmp_path / "runs" / "all" / tool / "output" / "rows.jsonl"
        assert list(read_rows(stage)) == list(read_rows(tmp_path / "out.jsonl")), tool
