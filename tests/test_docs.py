"""What the documentation shows: examples that run, names of the two faces, links and files that are there."""

from __future__ import annotations

import ast
import collections.abc
import doctest
import gzip
import inspect
import json
import re
import typing
from importlib import import_module
from pathlib import Path

import pytest

import data_tools
import light_r1
from light_r1.run.check import inspect as inspect_recipe
from tests.shared import ROOT
from tests.test_style import FLOORS, modules

FACES = {"data_tools": data_tools, "light_r1": light_r1}
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Examples that need a model are not run; their calls are bound to the signatures.
NEEDS_A_MODEL = re.compile(r"(Trainer|HFSampler|merge_models)\(")
ROWS = [{"problem": f"What is {n} + {n}?", "solution": f"It is \\boxed{{{2 * n}}}."} for n in range(20)]
SURROUNDINGS = {
    "Protocol": typing.Protocol,
    "Sequence": collections.abc.Sequence,
    **dict.fromkeys(("Request", "SamplingParams", "Completion")),
    "questions": ["1+1?", "2+2?"],
    "rows": [{"problem": "1+1?"}, {"problem": "2+2?"}],
    "draw": lambda wanted: [[True] * count for _, _, count in wanted],
    "after": {"by_question": {"a": 1.0, "b": 0.5}},
    "before": {"by_question": {"a": 0.5, "b": 0.5}},
    "completions": [r"\boxed{4}", r"\boxed{5}"],
    "answers": ["4", "4"],
}


def examples() -> list:
    found = []
    for page in PAGES:
        text = page.read_text("utf-8")
        for match in BLOCK.finditer(text):
            line = text[: match.start()].count("\n") + 2
            found.append(pytest.param(match[1], id=f"{page.name}:{line}"))
    return found


def statements(example: str) -> str:
    """The code of an example, also of one that shows what an interpreter prints."""
    if not example.startswith(">>>"):
        return example
    return "".join(part.source for part in doctest.DocTestParser().get_examples(example))


def run_doctest(text: str, names: dict, where: str) -> None:
    test = doctest.DocTestParser().get_doctest(text, names, where, where, 0)
    output: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=output.append)
    assert not output, "".join(output)


@pytest.mark.parametrize("example", examples())
def test_an_example_imports_from_the_faces_only(example):
    tree = ast.parse(statements(example))
    imported = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert not {alias.name.partition(".")[0] for alias in node.names} & FACES.keys(), "import names instead"
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in FACES:
            assert node.module in FACES, f"{node.module} is not a face"
            for alias in node.names:
                assert alias.name in FACES[node.module].__all__, f"{node.module} has no public {alias.name}"
                imported[alias.name] = getattr(FACES[node.module], alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in imported:
            keywords = {keyword.arg: None for keyword in node.keywords}
            inspect.signature(imported[node.func.id]).bind(*[None] * len(node.args), **keywords)


@pytest.mark.parametrize("example", [e for e in examples() if not NEEDS_A_MODEL.search(e.values[0])])
def test_an_example_runs(example, tmp_path, monkeypatch):
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "raw.jsonl").write_text(lines)
    (tmp_path / "raw.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    monkeypatch.chdir(tmp_path)
    if example.startswith(">>>"):
        run_doctest(example, dict(SURROUNDINGS), "example")
    else:
        exec(compile(example, "example", "exec"), {"__name__": "example", **SURROUNDINGS})


def test_the_example_of_a_sampler_samples(tiny_model, tokenizer, capsys):
    (example,) = [param.values[0] for param in examples() if "HFSampler(" in param.values[0]]
    names = {"model": tiny_model, "tokenizer": tokenizer, "questions": SURROUNDINGS["questions"]}
    exec(example.replace("max_tokens=4096", "max_tokens=4"), names)
    assert len(capsys.readouterr().out.splitlines()) >= 16


OWN = """
name: own
model: {name_or_path: Qwen/Qwen2.5-0.5B}
sampler: {backend: "my_sampler:make", word: "Hm."}
stages:
  - {name: sums, type: "my_stage:Sums"}
  - {name: asked, type: data, data: sums, steps: [{tool: "my_tools:ask_something", mark: "?"}]}
  - {name: rl, type: grpo, data: asked, rewards: [{name: "my_rewards:get_brevity_reward", target: 9}]}
"""


def test_parts_of_ones_own_pass_the_check_of_a_recipe(tmp_path, monkeypatch):
    for example in (param.values[0] for param in examples()):
        if module := re.match(r"# (my_\w+\.py)\n", example):
            (tmp_path / module[1]).write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    for changed, fault in {
        "": None,
        "target: 9|taget: 9": "Did you mean target?",
        "mark:|marc:": "Did you mean mark?",
        'word: "Hm."|wort: x': "Did you mean word?",
        '"my_stage:Sums"|"my_stage:Sum"': "my_stage",
        'my_stage:Sums"}|my_stage:Sums", data: asked}': "takes no data",
    }.items():
        (tmp_path / "own.yaml").write_text(OWN.replace(*changed.split("|")) if changed else OWN)
        problems = "\n".join(map(str, inspect_recipe(tmp_path / "own.yaml", trust=fault is None).problems))
        assert fault in problems if fault else not problems


def documented() -> list:
    """Module and docstring of what shows an interpreter's session; what trains or merges is left out."""
    found = []
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            text = ast.get_docstring(node) or "" if isinstance(node, ast.ClassDef | ast.FunctionDef) else ""
            if ">>>" in text and not NEEDS_A_MODEL.search(text):
                found.append(pytest.param(name, text, id=f"{name}:{node.name}"))
    return found


@pytest.mark.parametrize(("module", "text"), documented())
def test_a_docstring_s_example_runs(module, text):
    run_doctest(text, dict(vars(import_module(module))), module)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    text = page.read_text("utf-8")
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(#[^)\s]*)?\)", text):
        if target.startswith(("http://", "https://")):
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{page.name}: no {target}"
        if anchor:
            heads = re.findall(r"^#+ (.*)$", file.read_text("utf-8"), re.MULTILINE)
            slugs = [re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads]
            assert anchor[1:] in slugs, f"{page.name}: {target}{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_dotted_names_are_those_of_the_faces(page):
    dotted = re.findall(r"\b(light_r1|data_tools)\.(\w+(?:\.\w+)*)(:?)", page.read_text("utf-8"))
    inner = [
        f"{package}.{name}"
        for package, name, colon in dotted
        if name not in FACES[package].__all__ and (package, name) != ("light_r1", "run") and not colon
        and not name.endswith((".json", ".md"))
    ]  # fmt: skip
    assert not inner, f"internal names: {inner}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_what_is_said_to_be_in_them_are_there(page):
    """`folder/file.py` exists, and `folder/file.py:name` is defined there."""
    for path, name in re.findall(
        r"`((?:light_r1|data_tools|tests|benchmarks|recipes|docs)/[\w./-]*)(?::(\w+(?:\.\w+)?))?`",
        page.read_text("utf-8"),
    ):
        assert (ROOT / path).exists(), f"{page.name}: no {path}"
        assert not name or name in defined(ROOT / path), f"{page.name}: no {name} in {path}"


def test_files_that_docstrings_name_are_there():
    missing = [
        f"{name}: {file}"
        for name, path in modules().items()
        for file in re.findall(r"`([\w/]+\.py)`", path.read_text("utf-8"))
        if not any(str(other).endswith(f"/{file}") for other in modules().values()) and not (ROOT / file).exists()
    ]
    assert not missing, "\n".join(missing)


def defined(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_the_architecture_draws_every_folder_and_the_floors_that_are_held():
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    floors = dict(re.findall(r"^(light_r1|data_tools): +(.*)$", text, re.MULTILINE))
    assert {package: tuple(line.split(" < ")) for package, line in floors.items()} == FLOORS
    drawn = set(re.findall(r"^ +([a-z_]+(?:/[a-z_]+)*)/ ", text, re.MULTILINE))
    folders = {
        path.parent.relative_to(ROOT / package).as_posix()
        for package in FACES
        for path in (ROOT / package).rglob("__init__.py")
        if path.parent != ROOT / package
    }
    assert drawn == folders
