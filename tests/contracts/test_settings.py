"""Every field of TRL's configs means what TRL says, is refused, or differs as `docs/trl_settings.md` tells.

The classification is that of `light_r1.trainers.settings` (refused), of `CHANGED` below and of `UNREAD`; all other
fields pass through. A field of a new TRL fails here until it is found read, or classified.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import transformers
import trl
from trl import DPOConfig, GRPOConfig, SFTConfig

from light_r1.trainers.dpo.config import SemiOnPolicyDPOConfig
from light_r1.trainers.dpo.trainer import SemiOnPolicyDPOTrainer
from light_r1.trainers.grpo.config import StagedGRPOConfig
from light_r1.trainers.grpo.trainer import StagedGRPOTrainer
from light_r1.trainers.settings import DPO, GRPO, RECIPE, SFT
from light_r1.trainers.sft.config import CurriculumSFTConfig
from light_r1.trainers.sft.trainer import CurriculumSFTTrainer
from tests.contracts.test_traps import names_in

ROOT = Path(__file__).parents[2]
TRAINERS: dict[str, tuple[Any, Any, Any]] = {
    "sft": (SFTConfig, CurriculumSFTConfig, CurriculumSFTTrainer),
    "dpo": (DPOConfig, SemiOnPolicyDPOConfig, SemiOnPolicyDPOTrainer),
    "grpo": (GRPOConfig, StagedGRPOConfig, StagedGRPOTrainer),
}
REFUSED = {"sft": SFT, "dpo": DPO, "grpo": GRPO}
UNREAD = {"do_train", "do_predict", "local_rank"}

NOISE = ("test_neftune.py", "noise_of_a_row_does_not_depend", "noise is of each row's own length, not the batch's")
BATCH = (
    "test_building.py",
    "the_accumulation_follows",
    "null is the default, which is 1, or follows from `global_batch_size`",
)
FILTER = ("test_finite.py", "clean_training_is_what_it_was", "always off: a loss that is no number stops training")
SAMPLING = (
    "temperature", "top_p", "top_k", "min_p", "repetition_penalty", "generation_kwargs", "cache_implementation",
    "use_transformers_continuous_batching", "transformers_continuous_batching_config",
)  # fmt: skip
CHANGED: dict[str, dict[tuple[str, ...], tuple[str, str, str]]] = {  # fields -> test file, start of its name, what
    "sft": {
        ("max_length",): (
            "sft/test_trainer.py", "overlong_rows_are_dropped_counted",
            "longer rows are dropped and counted, or lose the start of their thought (`overlength`); none is cut",
        ),
        ("packing",): (
            "sft/test_trainer.py", "auto_packing_needs_a_varlen_kernel",
            "`auto` is the default; rows are packed whole, in the order of the curriculum",
        ),
        ("completion_only_loss",): (
            "sft/test_trainer.py", "every_common_schema_gives_the_same_tokens",
            "by default the response alone is trained, of conversations too",
        ),
        ("num_train_epochs",): (
            "sft/test_trainer.py", "the_rate_of_every_step", "`stop_after_epochs` takes its place where it is set",
        ),
        ("neftune_noise_alpha",): NOISE,
        ("gradient_accumulation_steps",): BATCH,
        ("logging_nan_inf_filter",): FILTER,
    },
    "dpo": {
        ("max_length",): (
            "dpo/test_trainer.py", "overlong_pairs_are_dropped",
            "longer pairs are dropped and counted (`overlength`); none is cut",
        ),
        ("precompute_ref_log_probs",): (
            "dpo/test_trainer.py", "the_reference_is_the_policy_as_it_starts",
            "`true` is the default: the reference is the policy as it starts",
        ),
        ("pad_to_multiple_of",): (
            "dpo/test_losses.py", "every_loss_is_that_of_plain_trl",
            "pairs are scored without padding while `share_prefixes` is true",
        ),
        ("neftune_noise_alpha",): (
            "test_neftune.py", "both_sides_of_a_pair", f"{NOISE[2]}; `share_prefixes` is off",
        ),
        ("gradient_accumulation_steps",): BATCH,
        ("logging_nan_inf_filter",): FILTER,
    },
    "grpo": {
        ("max_completion_length",): (
            "grpo/test_trainer.py", "generation_follows_the_schedule",
            "follows `context_schedule` where there is one",
        ),
        ("max_steps",): (
            "grpo/test_trainer.py", "generation_follows_the_schedule",
            "the steps of `context_schedule` where they are known and it is not set",
        ),
        ("beta", "entropy_coef"): (
            "grpo/test_trainer.py", "a_context_stage_has_its_own", "a stage of `context_schedule` may set its own",
        ),
        SAMPLING: (
            "grpo/test_rollouts.py", "every_field_of_grpo_is_classified",
            "honoured by the sampler of this package, or generation is TRL's",
        ),
        ("chat_template_kwargs",): (
            "grpo/test_rollouts.py", "prompts_that_are_messages",
            "for prompts that are messages, which TRL renders; refused beside text",
        ),
        ("vllm_importance_sampling_mode",): (
            "grpo/test_losses.py", "importance_sampling_keeps_long",
            "`token_truncate` is the default: long completions are not masked",
        ),
        ("pad_to_multiple_of",): (
            "grpo/test_trainer.py", "sharing_prompts_changes_no_step",
            "completions are scored without padding while `share_prefixes` is true",
        ),
        ("neftune_noise_alpha",): (
            "test_neftune.py", "completions_are_scored_with_noise", f"{NOISE[2]}; `share_prefixes` is off",
        ),
        ("gradient_accumulation_steps",): BATCH,
        ("logging_nan_inf_filter",): FILTER,
    },
}  # fmt: skip

HELD = {"args", "self.args", "trainer.args", "training_args", "config"}
EMPTIED = {"SFTTrainer._prepare_dataset"}  # called by ours through `super()`, with its work done before
SKIPPED = {"CurriculumSFTTrainer": {"_get_train_sampler"}}  # calls `super()` in one case only
ELSEWHERE = {"sft": {"gradient_accumulation_steps", "dataloader_drop_last"}}  # a sampler reads them that is refused


def bodies(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the functions and methods of a module, by `name` or `Class.name`."""
    for node in tree.body:
        for part in node.body if isinstance(node, ast.ClassDef) else [node]:
            if isinstance(part, ast.FunctionDef):
                yield (f"{node.name}.{part.name}" if isinstance(node, ast.ClassDef) else part.name), part


def asked(node: ast.AST, held: set[str], names: set[str]) -> set[str]:
    """Return the fields that an expression takes from a config: `args.x`, `getattr(args, "x")`, `f"{y}_steps"`."""
    if isinstance(node, ast.Attribute) and node.attr in names and isinstance(node.ctx, ast.Load):
        return {node.attr} if ast.unparse(node.value) in held else set()
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        key = node.args[1]
        parts = key.values if isinstance(key, ast.JoinedStr) else [key] if isinstance(key, ast.Constant) else []
        pattern = "".join(re.escape(str(p.value)) if isinstance(p, ast.Constant) else ".+" for p in parts)
        return {name for name in names if re.fullmatch(pattern, name)} if ast.unparse(node.args[0]) in held else set()
    return set()


def kept_by(node: ast.stmt) -> set[str] | None:
    """Return the attributes of `self` that a statement sets and nothing else; none of what only raises or warns."""
    if isinstance(node, ast.Assign):
        own = all(isinstance(t, ast.Attribute) and ast.unparse(t.value) == "self" for t in node.targets)
        return {t.attr for t in node.targets} if own else None  # type: ignore[attr-defined]
    if isinstance(node, ast.Raise | ast.Pass | ast.Import | ast.ImportFrom):
        return set()
    if isinstance(node, ast.Expr):
        called = ast.unparse(node.value.func) if isinstance(node.value, ast.Call) else ""
        return set() if re.match(r"(logger|warnings|log)\.", called) else None
    if isinstance(node, ast.If):
        parts = [kept_by(part) for part in (*node.body, *node.orelse)]
        return None if None in parts else set().union(*parts)  # type: ignore[arg-type]
    return None


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@cache
def walk(kind: str) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return where each field is read: by what runs, and by what a trainer of ours has replaced.

    A method runs unless a class nearer to ours defines it without calling `super()`. A field that `__init__` copies to
    `self.x` is read where `self.x` is. Conditions of which nothing but an error or a warning follows do not count.

    It cannot see a branch that is never taken, a value that is handed on to a function or a collator and ignored
    there, and a field that is read and has another effect than TRL's: those are in `CHANGED` and in the tables of
    `light_r1.trainers.settings` because they were tried out.
    """
    base, config, trainer = TRAINERS[kind]
    names = {field.name for field in fields(base)}
    found: list[tuple[str, ast.FunctionDef, set[str], bool, bool]] = []  # what, body, held by, runs, replaced by us
    stopped: dict[str, str] = {}
    for owner in trainer.__mro__:
        root = owner.__module__.partition(".")[0]
        if root not in ("light_r1", "trl", "transformers"):
            continue
        here, source = {}, textwrap.dedent(inspect.getsource(owner))
        for name, body in bodies(ast.parse(source)):
            runs = body.name not in stopped and name not in EMPTIED
            found.append((name, body, HELD, runs, name in EMPTIED or stopped.get(body.name) == "light_r1"))
            if f"super().{body.name}(" not in source or body.name in SKIPPED.get(owner.__name__, ()):
                here[body.name] = root
        stopped = {**here, **stopped}
    mine = {owner.__name__ for owner in trainer.__mro__}
    settings = {owner.__name__ for owner in config.__mro__}
    theirs, others = Path(transformers.__file__).parent, Path(trl.__file__).parent
    files = [
        *(file for file in theirs.glob("trainer*.py") if "seq2seq" not in file.name), theirs / "training_args.py",
        *(theirs / "integrations" / f"{name}.py" for name in ("integration_utils", "deepspeed")),
        *(others / "generation").glob("*.py"),
        *(others / "trainer" / f"{name}.py" for name in ("base_config", "callbacks", "utils", f"{kind}_config")),
        *(ROOT / "light_r1" / "trainers").glob("*.py"), *(ROOT / "light_r1" / "trainers" / kind).glob("*.py"),
    ]  # fmt: skip
    for file in files:
        for name, body in bodies(parsed(file)):
            owner_name = name.partition(".")[0]
            if owner_name not in mine:
                found.append((name, body, HELD | ({"self"} if owner_name in settings else set()), True, False))
    live, replaced, copies = (defaultdict[str, set[str]](set) for _ in range(3))
    nodes = [list(ast.walk(body)) for _, body, _, _, _ in found]
    for (name, body, held, runs, ours), parts in zip(found, nodes, strict=True):
        seen: set[ast.AST] = set()
        for statement in parts:
            kept = kept_by(statement) if isinstance(statement, ast.Assign | ast.If) else None
            if statement in seen or kept is None or (kept and body.name != "__init__"):
                continue
            for part in ast.walk(statement):
                seen.add(part)
                for attribute in kept:
                    copies[attribute] |= asked(part, held, names)
        for part in parts:
            if part not in seen:
                for field in asked(part, held, names):
                    if runs:
                        live[field].add(name)
                    if ours:
                        replaced[field].add(name)
    for (name, _, _, runs, ours), parts in zip(found, nodes, strict=True):
        for part in parts:
            if isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Load) and part.attr in copies:
                for field in copies[part.attr] if ast.unparse(part.value) in ("self", "trainer") else ():
                    if runs:
                        live[field].add(name)
                    if ours:
                        replaced[field].add(name)
    return dict(live), dict(replaced)


def changed(kind: str) -> set[str]:
    return {name for names in CHANGED[kind] for name in names}


def refused(kind: str) -> set[str]:
    return {one.field for one in REFUSED[kind]}


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_field_that_nothing_reads_is_refused_or_told(kind):
    live, _ = walk(kind)
    silent = {field.name for field in fields(TRAINERS[kind][0])} - set(live)
    assert silent >= UNREAD, "somebody reads them now"
    assert silent - UNREAD <= changed(kind) | refused(kind)


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_field_whose_reader_we_replace_is_read_by_ours_or_told(kind):
    _, replaced = walk(kind)
    package = [file.read_text(encoding="utf-8") for file in (ROOT / "light_r1" / "trainers").rglob("*.py")]
    ours = {name for name in replaced if any(re.search(rf"(args|config|self)\.{name}\b", text) for text in package)}
    assert kind != "sft" or len(replaced) >= 8, "the walk finds no replaced method any more"
    assert set(replaced) - ours - ELSEWHERE.get(kind, set()) <= changed(kind) | refused(kind)


@pytest.mark.parametrize("kind", TRAINERS)
def test_a_field_with_another_default_than_trls_is_told(kind):
    base, config, _ = TRAINERS[kind]
    theirs, ours = ({field.name: field.default for field in fields(one)} for one in (base, config))
    assert {name for name in theirs if theirs[name] != ours[name]} <= changed(kind)


@pytest.mark.parametrize("kind", TRAINERS)
def test_every_field_that_is_told_is_one_and_has_its_test(kind):
    names = {field.name for field in fields(TRAINERS[kind][0])}
    assert changed(kind) | refused(kind) | UNREAD <= names
    for file, start, _ in CHANGED[kind].values():
        path = f"light_r1/trainers/{file}"
        assert any(name.startswith(f"test_{start}") for name in names_in(path)), f"{path} has no test_{start}..."


def table(kind: str) -> list[str]:
    """Return the lines of the documentation that tell of a trainer's fields."""
    names = {field.name for field in fields(TRAINERS[kind][0])}
    through = len(names - changed(kind) - refused(kind) - UNREAD)
    lines = [f"{len(names)} fields of TRL's `{TRAINERS[kind][0].__name__}`; {through} pass through.", ""]
    lines += ["| Field | Differs | Why or how |", "|---|---|---|"]
    for fields_of, (_, _, what) in CHANGED[kind].items():
        lines.append(f"| {', '.join(f'`{name}`' for name in fields_of)} | changed | {what} |")
    return lines + [refusal_line(one) for one in REFUSED[kind]]


def refusal_line(one: Any) -> str:
    taken = " or ".join(f"`{json.dumps(value)}`" for value in one.taken)
    return f"| `{one.field}` | only {taken} | {one.why}{f'. {one.hint}' if one.hint else ''} |".replace(". |", " |")


def page() -> str:
    return (ROOT / "docs" / "trl_settings.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", TRAINERS)
def test_the_documentation_has_the_table_of_every_trainer(kind):
    assert "\n".join(table(kind)) + "\n" in page()


def test_the_documentation_has_what_recipes_refuse_and_what_nobody_reads():
    assert "\n".join(map(refusal_line, RECIPE)) + "\n" in page()
    assert f"read by no trainer: {', '.join(f'`{name}`' for name in sorted(UNREAD))}" in page()
