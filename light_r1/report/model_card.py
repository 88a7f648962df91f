"""A model card (`README.md`) in every model folder of a run: where it comes from, its scores, how to load it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import yaml

from light_r1.report.handovers import card_text
from light_r1.report.summary import START, Json, RunSummary, StageSummary, score_name
from light_r1.run_dir.files import write_whole


def write_cards(run: RunSummary) -> None:
    """Write the card of every model that the run has finished, with the scores that are there by now."""
    for stage in run.stages:
        folder = stage.folder / "output" / "model"
        if stage.makes_model and stage.manifest and folder.is_dir():
            write_whole(folder / "README.md", card(run, stage))


def card(run: RunSummary, stage: StageSummary) -> str:
    """Return the text of a finished model's card."""
    manifest = stage.manifest or {}
    versions = ", ".join(f"{name} {version}" for name, version in manifest.get("versions", {}).items() if version)
    parts = [
        f"---\n{yaml.safe_dump(_head(run, stage), sort_keys=False, allow_unicode=True)}---",
        f"# {run.name}, {stage.name}",
        f"Made by the `{stage.type}` stage `{stage.name}` of the recipe `{run.name}` from {_origin(run, stage)}.",
        *_scores(run, stage),
        *_use(run, stage),
        "## How it was made",
        *(_made(run, ancestor) for ancestor in lineage(run, stage)),
        f"Fingerprint {manifest.get('fingerprint')}, seed {manifest.get('seed')}, "
        f"{manifest.get('world_size')} process(es). {versions}.",
        *filter(None, [card_text(run.root, stage.name, manifest.get("handover"))]),
        *_recipe(run),
    ]
    return "\n\n".join(parts) + "\n"


def lineage(run: RunSummary, stage: StageSummary) -> list[Json]:
    """Return the specs of the stages that went into a model, it included, in the order they ran."""
    wanted = {stage.name}
    specs = []
    for spec in reversed(run.recipe["stages"]):
        if spec["name"] in wanted:
            specs.append(spec)
            wanted.update(spec["inputs"])
            wanted.update(name for name in (spec["data"], spec["eval_data"], spec["options"].get("base")) if name)
    return specs[::-1]


def _head(run: RunSummary, stage: StageSummary) -> Json:
    """Return the metadata that the hub reads."""
    adapter = (stage.folder / "output/model/adapter_config.json").exists()
    head: Json = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["light_r1", stage.type],
    }
    if run.recipe["model"]["name_or_path"]:
        head["base_model"] = run.recipe["model"]["name_or_path"]
    if stage.scores:
        results = [_result(benchmark, scores) for benchmark, scores in stage.scores.items()]
        head["model-index"] = [{"name": f"{run.name}-{stage.name}", "results": results}]
    return head


def _result(benchmark: str, scores: Json) -> Json:
    name = score_name(scores)
    return {
        "task": {"type": "text-generation"},
        "dataset": {"name": benchmark, "type": benchmark},
        "metrics": [{"type": "accuracy", "name": name, "value": round(100 * scores[name], 2)}],
    }


def _origin(run: RunSummary, stage: StageSummary) -> str:
    names = [name for name in stage.inputs if name != START]
    if names:
        return " and ".join(f"`{name}`" for name in names)
    start = run.recipe["model"]["name_or_path"]
    return f"`{start}`" if start else "a model with random weights"


def _scores(run: RunSummary, stage: StageSummary) -> list[str]:
    if not stage.scores:
        return []
    lines = ["| benchmark | score | change | truncated | mean tokens |", "|---|---|---|---|---|"]
    for benchmark, scores in stage.scores.items():
        name = score_name(scores)
        change = run.change(stage, benchmark)
        against = f"{100 * change.mean:+.1f} ± {100 * change.se:.1f} to `{stage.inputs[0]}`" if change else ""
        lines.append(
            f"| {benchmark} | {name} {100 * scores[name]:.1f} ± {100 * scores['se']:.1f} "
            f"({scores['questions']} questions) | {against} | {100 * scores['truncated']:.1f}% "
            f"| {scores['tokens']:.0f} |"
        )
    sampling = run.recipe["evaluate"]
    note = "Means over questions in percent, ± one standard error clustered by question"
    return [
        "## Scores",
        "\n".join(lines),
        f"{note}; temperature {sampling['temperature']}, top-p {sampling['top_p']}, "
        f"at most {sampling['max_tokens']:,} tokens."
        if sampling
        else f"{note}.",
    ]


def _use(run: RunSummary, stage: StageSummary) -> list[str]:
    """Return an example that runs in the model's folder: the chat template puts system prompt and suffix in."""
    folder = stage.folder / "output" / "model"
    adapter = (folder / "adapter_config.json").exists()
    model, tokenizer = "AutoPeftModelForCausalLM" if adapter else "AutoModelForCausalLM", _tokenizer_class(folder)
    names = [tokenizer] if adapter else [model, tokenizer]
    code = [
        *([f"from peft import {model}"] if adapter else []),
        f"from transformers import {', '.join(names)}",
        "",
        'folder = "."  # this folder',
        f"tokenizer = {tokenizer}.from_pretrained(folder)",
        f'model = {model}.from_pretrained(folder, dtype="auto", device_map="auto")',
        'messages = [{"role": "user", "content": "What is 17 + 25?"}]',
        "prompt = tokenizer.apply_chat_template(",
        '    messages, add_generation_prompt=True, return_tensors="pt", return_dict=True',
        ").to(model.device)",
        f"output = model.generate(**prompt, {_sampling(run)})",
        'text = tokenizer.decode(output[0, prompt["input_ids"].shape[1] :])',
        "for token in tokenizer.all_special_tokens:  # it ends with the token that ends a turn",
        "    text = text.removesuffix(token)",
        *_parts(run.recipe["chat"]["think_tokens"]),
    ]
    return ["## Use", "\n".join(["```python", *code, "```"])]


def _tokenizer_class(folder: Path) -> str:
    """Return the class that loads the tokenizer as it was saved; see `light_r1.models.load.load_tokenizer`."""
    file = folder / "tokenizer_config.json"
    saved = json.loads(file.read_text(encoding="utf-8")).get("tokenizer_class") if file.exists() else None
    return "PreTrainedTokenizerFast" if saved in ("PreTrainedTokenizerFast", "TokenizersBackend") else "AutoTokenizer"


def _sampling(run: RunSummary) -> str:
    """Return arguments of `generate` that sample as the recipe's evaluation does; greedy without one."""
    sampling = run.recipe["evaluate"]
    if not sampling:
        return "do_sample=False, max_new_tokens=1024"
    length = f"max_new_tokens={sampling['max_tokens']}"
    if not sampling["temperature"]:
        return f"do_sample=False, {length}"
    top_k = sampling["top_k"] or 0  # 0 is off; transformers takes 50 where none is given
    return f"do_sample=True, temperature={sampling['temperature']}, top_p={sampling['top_p']}, top_k={top_k}, {length}"


def _parts(tags: Sequence[str]) -> list[str]:
    """Return code that prints thought and answer; a thought that is not closed has no answer."""
    if not tags:
        return ["print(text)"]
    opening, closing = map(json.dumps, tags)
    return [
        f"thought, _, answer = text.partition({closing})",
        f'print("Thought:", thought.removeprefix({opening}).strip())',
        'print("Answer:", answer.strip())',
    ]


def _made(run: RunSummary, spec: Json) -> str:
    """Return one stage of a model's lineage: what went in, how much, with which settings."""
    done = next((s.manifest for s in run.stages if s.name == spec["name"]), None) or {}
    sizes = [f"{done[key]:,} {key}" for key in ("steps", "tokens") if done.get(key)]
    facts = [f"from {' and '.join(f'`{name}`' for name in spec['inputs'])}"] if spec["inputs"] else []
    facts += [f"data `{spec['data']}`"] if spec["data"] else []
    settings = json.dumps({"args": spec["args"], **spec["options"]}, indent=2, ensure_ascii=False)
    return f"### {spec['name']} ({spec['type']})\n\n{', '.join([*facts, *sizes])}\n\n```json\n{settings}\n```"


def _recipe(run: RunSummary) -> list[str]:
    """Return the recipe as it was written; what it extends is in the settings of the stages."""
    path = run.root / "recipe.yaml"
    if not path.exists():
        return []
    return ["## Recipe", f"```yaml\n{path.read_text(encoding='utf-8').strip()}\n```"]
