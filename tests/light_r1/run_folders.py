"""Run folders as the runner leaves them, and checkpoints as the Trainer writes them, made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RATES = {"a": 0.0, "b": 0.5, "c": 1.0}


def spec(name: str, kind: str, inputs: tuple[str, ...] = ("model",), **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "type": kind,
        "inputs": list(inputs),
        "data": None,
        "eval_data": None,
        "args": {},
        "options": {},
        **more,
    }


def write_run(root: Path, specs: list[dict[str, Any]], *, start: str | None = None) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    recipe = {
        "name": "toy",
        "seed": 7,
        "model": {"name_or_path": start},
        "chat": {"suffix": None, "think_tokens": ["<think>", "</think>"]},
        "evaluate": {"temperature": 0.6, "top_p": 0.95, "top_k": None, "max_tokens": 64},
        "stages": specs,
    }
    (root / "recipe.resolved.json").write_text(json.dumps(recipe))
    (root / "recipe.yaml").write_text("name: toy\n")
    return root


def finish(root: Path, name: str, kind: str, **more: Any) -> Path:
    folder = root / name
    (folder / "output").mkdir(parents=True, exist_ok=True)
    manifest = {
        "stage": name,
        "fingerprint": "f" * 16,
        "seconds": 61.0,
        "rows": None,
        "tokens": None,
        "steps": None,
        "seed": 7,
        "world_size": 1,
        "versions": {"torch": "2.0"},
        **more,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if kind in ("sft", "dpo", "grpo", "merge"):
        (folder / "output/model").mkdir()
    return folder


def write_lines(path: Path, rows: list[dict[str, Any]], *, torn: str = "") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + torn)


def evaluate(root: Path, name: str, rates: dict[str, float], **more: Any) -> None:
    """A finished evaluation of two samples a question, with these pass rates."""
    from light_r1.rollouts.scores import Question, score

    asked = [Question(key, [rate > 0, rate > 0.5], ["1", "2"], [10, 20], [True, False]) for key, rate in rates.items()]
    folder = finish(root, name, "evaluate")
    scores = {"hard": {**score(asked, [1, 2]), "by_question": rates, **more}}
    (folder / "output/scores.json").write_text(json.dumps(scores))
    samples = [
        {
            "benchmark": "hard",
            "prompt_id": q.id,
            "sample_index": i,
            "problem": f"What is <{q.id}>?",
            "answer": "42",
            "text": f"{name} thinks ``` {q.id} {i}",
            "correct": q.right[i],
            "finished": q.finished[i],
            "n_tokens": q.tokens[i],
        }
        for q in asked
        for i in range(2)
    ]
    write_lines(folder / "output/samples.jsonl", samples)


def whole_run(root: Path) -> Path:
    """A run of every stage type, finished and scored."""
    specs = [
        spec("sft", "sft", data="train"),
        spec("sft.evaluate", "evaluate", ("sft",)),
        spec("filter", "data", ("sft",), data="pool"),
        spec("dpo", "dpo", ("sft",), data="filter", args={"beta": 0.3}),
        spec("dpo.evaluate", "evaluate", ("dpo",)),
        spec("merge", "merge", ("sft", "dpo")),
        spec("merge.evaluate", "evaluate", ("merge",)),
        spec("grpo", "grpo", ("merge",), data="filter"),
        spec("grpo.evaluate", "evaluate", ("grpo",)),
    ]
    write_run(root, specs)
    finish(root, "sft", "sft", steps=3, tokens=1234, rows={"in": 10, "kept": 9, "dropped": {"no_think": 1}})
    write_lines(root / "sft/metrics.jsonl", [{"step": i, "loss": 2.0 / i} for i in (1, 2, 3)], torn='{"step": 4, "lo')
    finish(root, "filter", "data", rows={"in": 6, "kept": 2, "dropped": {"difficulty: too_easy": 3, "dedup: same": 1}})
    steps = [
        {"step": "difficulty", "in": 6, "kept": 3, "dropped": {"too_easy": 3}},
        {"step": "dedup", "in": 3, "kept": 2, "dropped": {"same": 1}},
    ]
    (root / "filter/output/steps.json").write_text(json.dumps(steps))
    write_lines(root / "filter/output/rows.jsonl", [{"problem": "p", "pass_rate": 0.5}] * 2)
    write_lines(root / "filter/dropped.jsonl", [{"reason": "too_easy", "row": {"pass_rate": 1.0}}] * 3)
    finish(root, "dpo", "dpo", rows={"in": 2, "kept": 5, "dropped": {}, "unit": "pairs"}, steps=2)
    write_lines(root / "dpo/metrics.jsonl", [{"step": i, "loss": 1.4, "rewards/margins": i / 10} for i in (1, 2)])
    finish(root, "merge", "merge")
    finish(root, "grpo", "grpo", steps=2, rows={"in": 2, "kept": 2, "dropped": {}})
    grpo = {"reward": 0.5, "rewards/accuracy/mean": 0.4, "rewards/cosine/mean": 0.1, "entropy": 1.0}
    more = {"clip_ratio/region_mean": 0.0, "completions/mean_length": 9.0, "kl": 0.1}
    write_lines(root / "grpo/metrics.jsonl", [{"step": i, **grpo, **more} for i in (1, 2)])
    evaluate(root, "sft.evaluate", RATES)
    evaluate(root, "dpo.evaluate", {"a": 0.5, "b": 1.0, "c": 1.0})
    evaluate(root, "merge.evaluate", {"a": 0.5, "b": 0.5, "c": 1.0})
    evaluate(root, "grpo.evaluate", {"a": 1.0, "b": 1.0, "c": 1.0})
    return root


def write_checkpoint(folder: Path, step: int, *, best: int | None = None, ranks: int = 1) -> Path:
    """A checkpoint as the Trainer writes it, in its order."""
    import torch
    from safetensors.torch import save_file

    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file({"w": torch.arange(100.0)}, path / "model.safetensors")
    (path / "config.json").write_text("{}")
    torch.save({"step": torch.arange(50)}, path / "optimizer.pt")
    torch.save({}, path / "scheduler.pt")
    names = ["rng_state.pth"] if ranks == 1 else [f"rng_state_{rank}.pth" for rank in range(ranks)]
    for name in names:
        torch.save({"cpu": torch.get_rng_state()}, path / name)
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step, "best_global_step": best}))
    return path
