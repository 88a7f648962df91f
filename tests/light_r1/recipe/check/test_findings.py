from __future__ import annotations

from pathlib import Path

from light_r1.recipe.check.findings import Findings
from light_r1.recipe.read import load_recipe


def test_a_problem_stands_where_its_key_was_written_and_only_once():
    findings = Findings(load_recipe("light_r1_32b"))
    for _ in range(2):
        findings.at("dpo.args.beta", "is wrong", "0.3", "Look again.")
        findings.note("worth knowing")
    text = str(findings.problems[0])
    lines = Path(findings.recipe.path).read_text().splitlines()
    number = int(text.split(":")[1])
    assert lines[number - 1].strip() == "beta: 0.3"
    assert text.endswith("dpo.args.beta: is wrong. Expected 0.3. Look again.")
    assert (len(findings.problems), findings.notes) == (1, ["worth knowing"])


def test_files_lie_beside_the_recipe():
    findings = Findings(load_recipe("gsm8k_traces"))
    assert findings.file("data/gsm8k_traces.jsonl").is_file()
    assert findings.file("data/nothing.jsonl") is None
