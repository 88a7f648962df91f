from __future__ import annotations

import json

import pytest

from light_r1.errors import RunDirError
from light_r1.report import stage_table, table_text, write_report
from light_r1.run_summary import read_run


def stage(name, type_, inputs, **more):
    return {"name": name, "type": type_, "inputs": inputs, "args": {"beta": 0.3}, "options": {}, **more}


def manifest(name, **more):
    return {
        "stage": name,
        "fingerprint": "f" * 16,
        "seconds": 75.4,
        "rows": {"in": 10, "kept": 8, "dropped": {"overlength": 2}},
        "tokens": 1234567,
        "steps": 20,
        "seed": 42,
        "world_size": 1,
        "versions": {"trl": "1.16.0"},
        **more,
    }


def scores(rates):
    mean = sum(rates.values()) / len(rates)
    return {
        "hard": {
            "questions": len(rates), "samples": 2, "avg@2": mean, "se": 0.05, "truncated": 0.25, "tokens": 12.0,
            "by_question": rates,
        }
    }  # fmt: skip


@pytest.fixture
def run(tmp_path):
    root = tmp_path / "runs" / "x"
    stages = [
        stage("base", "sft", ["model"]),
        stage("base.evaluate", "evaluate", ["base"], implicit=True),
        stage("dpo", "dpo", ["base"]),
        stage("dpo.evaluate", "evaluate", ["dpo"], implicit=True),
        stage("grpo", "grpo", ["dpo"]),
    ]
    root.mkdir(parents=True)
    recipe = {"name": "x", "model": {"name_or_path": None}, "stages": stages}
    (root / "recipe.resolved.json").write_text(json.dumps(recipe))
    for name, rates in (("base", {"a": 0.0, "b": 0.5}), ("dpo", {"a": 0.5, "b": 0.5})):
        (root / name / "output" / "model").mkdir(parents=True)
        (root / name / "manifest.json").write_text(json.dumps(manifest(name)))
        events = [{"step": step, "loss": 1 / step, "rewards/margins": step / 10} for step in (1, 2, 3)]
        (root / name / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events) + '{"torn')
        evaluation = root / f"{name}.evaluate"
        (evaluation / "output").mkdir(parents=True)
        (evaluation / "manifest.json").write_text(json.dumps(manifest(f"{name}.evaluate")))
        (evaluation / "output" / "scores.json").write_text(json.dumps(scores(rates)))
        samples = [
            {"text": f"<think>{name} {i}</think>", "correct": i == 1, "finished": i != 2, "n_tokens": i}
            for i in range(4)
        ]
        (evaluation / "output" / "samples.jsonl").write_text("".join(json.dumps(s) + "\n" for s in samples))
    return root


def test_the_table_shows_scores_changes_and_what_is_not_done(run):
    header, rows = stage_table(read_run(run))
    table = [dict(zip(header, row, strict=True)) for row in rows]
    assert [row["stage"] for row in table] == ["base", "dpo", "grpo"]
    assert table[0]["hard avg@2"] == "25.0 ± 5.0"
    assert table[0]["rows"] == "8 of 10"
    assert table[0]["time"] == "1 min 15 s"
    assert table[0]["change"] == ""
    assert table[1]["change"] == "+25.0 ± 25.0"
    assert table[2]["rows"] == "not done"


def test_the_report_holds_pictures_funnel_and_samples(run):
    write_report(run)
    text = (run / "report.md").read_text()
    for part in (
        "2 overlength",
        "wrong, 2 tokens, cut by the length limit",
        "right, 1 tokens",
        "plots/scores-hard.png",
    ):
        assert part in text
    assert "<think>" in text
    for name in ("scores-hard", "base-loss", "dpo-margin", "funnel"):
        assert (run / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (run / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "&lt;think&gt;" in page
    assert "<think>" not in page
    assert "25.0 ± 5.0" in table_text(run)


def test_every_model_gets_a_card_with_its_scores_and_settings(run):
    write_report(run)
    card = (run / "dpo/output/model/README.md").read_text()
    assert "avg@2 50.0 ± 5.0 (2 questions)" in card
    assert '"beta": 0.3' in card
    assert "from `base`" in card
    assert not (run / "grpo/output").exists()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunDirError, match="not a run folder"):
        write_report(tmp_path)
