from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import AutoPeftModelForCausalLM, PeftModel
from safetensors.torch import load_file, save_file

from light_r1.errors import StageError
from light_r1.models.handover import TOLERANCE, read_handover, write_handover
from light_r1.models.load import load_model, load_tokenizer, save_model
from light_r1.run_dir.folder import StageDir
from light_r1.run_dir.manifest import Manifest, describe_outputs
from light_r1.stages import load_stage
from light_r1.stages.base import Artifact, StageJob
from light_r1.stages.policy import Policy
from tests.conftest import character_tokenizer, make_model
from tests.light_r1.stages.test_stages import ROWS, job_for

LORA = {"r": 4, "lora_alpha": 64, "target_modules": "all-linear"}
OTHER_LORA = {"r": 2, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"]}
ARGS = {"max_length": 256, "learning_rate": 0.03, "max_steps": 4}
GRPO = {"max_length": None, "num_generations": 4, "max_completion_length": 8, "learning_rate": 0.01}
KINDS = {
    "sft": ({}, {}),
    "dpo": ({"loss_type": ["sigmoid"]}, {}),
    "grpo": (GRPO, {"rewards": ["tests.light_r1.stages.test_handover:by_length"]}),
}


def by_length(completions, **kwargs):
    return [float(sum(map(ord, completion)) % 5) for completion in completions]


def rows_of(kind: str) -> list[dict]:
    if kind != "dpo":
        return ROWS
    wrong = "<think>\nno\n</think>\n\n\\boxed{0}"
    return [{"problem": row["problem"], "chosen": row["solution"], "rejected": wrong} for row in ROWS]


@pytest.fixture
def base(tokenizer, tmp_path) -> Artifact:
    save_model(make_model(tokenizer).bfloat16().float(), tokenizer, tmp_path / "start")
    return Artifact(tmp_path / "start", "model", "0" * 16)


def finished(
    folder: Path, start: Artifact, kind="sft", *, dtype="float32", lora=None, args=None, tags=False, **model
) -> StageJob:
    """Run a stage as a run does, its manifest included."""
    own, options = KINDS[kind]
    fields = {**ARGS, **own, **(args or {})}
    if dtype != "float32":
        fields["bf16"] = None  # as the stage takes it from the model's dtype
    job = job_for(folder, start, rows_of(kind), options=options, lora=lora)
    args = {key: value for key, value in {**job.spec.args, **fields}.items() if value is not None}
    spec = replace(job.spec, args=args, model=replace(job.spec.model, dtype=dtype, **model))
    recipe = replace(job.recipe, chat=replace(job.recipe.chat, add_think_tokens=tags))
    job = replace(job, spec=spec, recipe=recipe)
    result = load_stage(kind).run(job)
    times = {"started": "2026-01-01T00:00:00+00:00", "ended": "2026-01-01T00:00:00+00:00", "seconds": 1.0}
    job.dir.write_manifest(
        Manifest(
            stage="stage",
            type=kind,
            fingerprint="0",
            outputs=describe_outputs(job.dir.path),
            handover=result.handover,
            loaded=job.dir.read_loaded(),
            **times,
        )
    )
    return job


def artifact(job: StageJob) -> Artifact:
    return Artifact(job.dir.output / "model", "model", "0" * 16)


def loads(folder: Path, model: Artifact, *, trains=True, dtype="float32", lora=None, handover="logprobs") -> Policy:
    """Load a model as the next stage does."""
    job = job_for(folder, model, ROWS, lora=lora)
    spec = replace(job.spec, model=replace(job.spec.model, dtype=dtype))
    return Policy(replace(job, spec=spec, recipe=replace(job.recipe, handover=handover)), trains=trains)


def state(folder: Path) -> dict[str, torch.Tensor]:
    return load_model(folder, dtype="float32").state_dict()


def moved(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    return sum(float((one[name] - other[name]).abs().sum()) for name in one)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_clean_handover_is_at_most_a_fifth_of_the_tolerance(base, tmp_path, kind, lora, dtype):
    job = finished(tmp_path / "one", base, kind, dtype=dtype, lora=lora)
    begun, ended = state(base.path), state(job.dir.output / "model")
    assert moved(begun, ended) > 1, "nothing was trained"
    for name, trains in (("trained", True), ("sampled", False)):
        loads(tmp_path / name, artifact(job), trains=trains, dtype=dtype, lora=lora)
        found = StageDir(tmp_path / name / "stage").read_loaded()["start"]
        assert found["files"] >= 4
        assert found["distance"] <= TOLERANCE["float32"] / 5, found  # both sides are scored in fp32
        noted = job.dir.read_manifest().handover
        assert found["logprob"] == pytest.approx(noted["logprob"], abs=TOLERANCE["float32"] / 5)


@pytest.mark.parametrize("second", ["sft", "dpo", "grpo"])
@pytest.mark.parametrize("same", [True, False], ids=["same-lora", "other-lora"])
def test_lora_behind_lora_keeps_what_was_trained_before(base, tmp_path, second, same):
    first = finished(tmp_path / "one", base, lora=LORA)
    still = {"learning_rate": 1e-12}
    job = finished(tmp_path / "two", artifact(first), second, lora=LORA if same else OTHER_LORA, args=still)
    third = finished(tmp_path / "three", artifact(job), lora=LORA, args=still)
    begun, trained = state(base.path), state(first.dir.output / "model")
    for each in (job, third):
        assert moved(state(each.dir.output / "model"), trained) < 1e-4 * moved(trained, begun)
    assert (job.dir.path / "start").exists() != same  # another adapter needs a base of its own
    plain = json.loads((job.dir.output / "model/adapter_config.json").read_text())["base_model_name_or_path"]
    whole = PeftModel.from_pretrained(load_model(plain, dtype="float32"), str(job.dir.output / "model"))
    assert moved(whole.merge_and_unload().state_dict(), trained) < 1e-4 * moved(trained, begun)
    assert not (job.dir.output / "model" / "ref").exists()


def test_all_weights_are_trained_behind_an_adapter(base, tmp_path):
    first = finished(tmp_path / "one", base, lora=LORA)
    job = finished(tmp_path / "two", artifact(first), args={"learning_rate": 1e-3})
    before, after = state(first.dir.output / "model"), state(job.dir.output / "model")
    assert all(not torch.equal(before[name], after[name]) for name in before)


def test_a_sharded_model_is_proven_as_it_is_wrapped_before_its_first_step(base, tmp_path, monkeypatch):
    first = finished(tmp_path / "one", base)
    for module in ("policy", "training"):
        monkeypatch.setattr(f"light_r1.stages.{module}.is_sharded", lambda args: True)
    job = finished(tmp_path / "two", artifact(first))
    found = job.dir.read_loaded()["start"]
    assert found["distance"] <= TOLERANCE["float32"]
    first.dir.manifest_json.unlink()
    shift_rows(first.dir.output / "model")
    with pytest.raises(StageError, match="not the model that was trained"):
        finished(tmp_path / "three", artifact(first))
    assert not (tmp_path / "three/stage/metrics.jsonl").exists()


def test_a_base_that_peft_is_not_told_of_is_caught_by_the_next_stage(base, tmp_path, monkeypatch):
    """The fault that lost whole trainings: a new adapter over merged weights that names the first base as its own."""
    first = finished(tmp_path / "one", base, lora=LORA)

    def saved(policy: Policy, job: StageJob) -> str:
        policy.model.name_or_path = str(base.path)
        return str(base.path)

    with monkeypatch.context() as planted:
        planted.setattr(Policy, "saved", saved)
        second = finished(tmp_path / "two", artifact(first), lora=OTHER_LORA, args={"learning_rate": 1e-4})
    with pytest.raises(StageError, match="is not the model that was trained"):
        loads(tmp_path / "three", artifact(second), lora=OTHER_LORA)
    loads(tmp_path / "four", artifact(second), lora=OTHER_LORA, handover="bytes")  # its bytes are what was written


def flip_byte(folder: Path) -> None:
    file = next(folder.glob("*.safetensors"))
    content = bytearray(file.read_bytes())
    content[-5] ^= 1
    file.write_bytes(content)


def leave_shard(folder: Path) -> None:
    save_file({"model.norm.weight": torch.zeros(2)}, folder / "model-00001-of-00002.safetensors")


def cast_twice(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = {name: value.bfloat16().float().clone() for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


def lose_file(folder: Path) -> None:
    (folder / "config.json").unlink()


@pytest.mark.parametrize("fault", [flip_byte, leave_shard, cast_twice, lose_file])
def test_files_that_are_not_those_that_were_written_are_seen_by_their_bytes(base, tmp_path, fault):
    job = finished(tmp_path / "one", base)
    fault(job.dir.output / "model")
    with pytest.raises(StageError, match=r"other bytes|was not written|is missing"):
        loads(tmp_path / "two", artifact(job), handover="bytes")


def shift_rows(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"].roll(1, 0).clone()
    save_file(weights, file, metadata={"format": "pt"})


def shift_tokens(folder: Path) -> None:
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text())
    vocabulary = content["model"]["vocab"]
    names = [name for name in vocabulary if len(name) == 1]
    for name, other in zip(names, names[1:] + names[:1], strict=True):
        vocabulary[name] = names.index(other) + len(vocabulary) - len(names)
    file.write_text(json.dumps(content))


def lose_adapter(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    weights = {name: torch.zeros_like(value) for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})


def change_base(folder: Path) -> None:
    file = folder / "adapter_config.json"
    config = json.loads(file.read_text())
    wrong = folder.parents[2] / "other"
    shutil.copytree(config["base_model_name_or_path"], wrong)
    shift_rows(wrong)
    file.write_text(json.dumps({**config, "base_model_name_or_path": str(wrong)}))
    write_handover(folder, replace(read_handover(folder), base=None, base_hash=None))


@pytest.mark.parametrize(
    ("fault", "lora"), [(shift_rows, None), (shift_tokens, None), (lose_adapter, LORA), (change_base, LORA)]
)
def test_a_model_that_means_something_else_is_seen_without_its_manifest(base, tmp_path, fault, lora):
    job = finished(tmp_path / "one", base, lora=lora)
    job.dir.manifest_json.unlink()
    fault(job.dir.output / "model")
    with pytest.raises(StageError, match=r"not the model that was trained|tokenizer is not the one"):
        loads(tmp_path / "two", artifact(job), lora=lora)


def test_the_base_of_an_adapter_is_found_again_in_a_run_that_was_moved_and_one_that_changed_is_named(base, tmp_path):
    (tmp_path / "run").mkdir()
    shutil.move(base.path, tmp_path / "run" / "start")
    inside = Artifact(tmp_path / "run" / "start", "model", "0" * 16)
    job = finished(tmp_path / "run" / "one", inside, lora=LORA)
    want = state(job.dir.output / "model")
    shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    adapter = tmp_path / "elsewhere" / job.dir.output.relative_to(tmp_path / "run") / "model"
    assert moved(state(adapter), want) == 0
    again = finished(tmp_path / "two", Artifact(adapter, "model", "0" * 16), lora=LORA, args={"learning_rate": 1e-12})
    assert moved(state(again.dir.output / "model"), want) < 1e-3
    flip_byte(tmp_path / "elsewhere" / "start")
    with pytest.raises(StageError, match="not the base that the adapter"):
        loads(tmp_path / "three", Artifact(adapter, "model", "0" * 16), handover="bytes")


QUANTIZED = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": "bfloat16"}


@pytest.fixture
def wide(tokenizer, tmp_path) -> Artifact:
    """A model whose layers bitsandbytes can pack: blocks of 64 weights on a CPU."""
    model = make_model(tokenizer, hidden=128)
    save_model(model.bfloat16(), tokenizer, tmp_path / "start")
    return Artifact(tmp_path / "start", "model", "0" * 16)


@pytest.mark.parametrize("second", ["sft", "dpo", "grpo"])
def test_adapters_on_quantised_weights_are_gone_on_with_in_fp32(wide, tmp_path, second):
    pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
    fields = {"dtype": "bfloat16", "lora": LORA, "quantization": QUANTIZED}
    first = finished(tmp_path / "one", wide, **fields)
    job = finished(tmp_path / "two", artifact(first), second, **fields, args={"learning_rate": 1e-12})
    before, after = (load_file(each.dir.output / "model/adapter_model.safetensors") for each in (first, job))
    assert {value.dtype for value in after.values()} == {torch.float32}
    for name, value in before.items():
        assert torch.allclose(value, after[name], atol=1e-9), name  # TRL would round them to bfloat16
    found = job.dir.read_loaded()["start"]
    assert found["distance"] <= TOLERANCE["bfloat16"] / 5


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_with_added_think_tags_holds_their_rows_and_no_others(tmp_path, kind, tied):
    tokenizer = character_tokenizer("chatml", think_special=False)
    save_model(make_model(tokenizer, tied=tied), tokenizer, tmp_path / "start")
    start = Artifact(tmp_path / "start", "model", "0" * 16)
    first = finished(tmp_path / "one", start, kind, lora=LORA, tags=True)
    job = finished(tmp_path / "two", artifact(first), kind, lora=LORA, tags=True)
    folder = job.dir.output / "model"
    weights = load_file(folder / "adapter_model.safetensors")
    rows = {name: value for name, value in weights.items() if "lora_" not in name}
    assert [tuple(value.shape) for value in rows.values()] == [(2, 32)] * (1 if tied else 2)
    assert (folder / "adapter_model.safetensors").stat().st_size < 100_000
    for one, other in zip(
        rows.values(), load_file(first.dir.output / "model/adapter_model.safetensors").values(), strict=False
    ):
        assert one.shape != other.shape or not torch.equal(one, other), "the rows of the tags were not trained"
    plain = AutoPeftModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32)
    ids = torch.tensor([tokenizer("1+1")["input_ids"]])
    assert torch.allclose(plain(ids).logits, load_model(folder, dtype="float32")(ids).logits, atol=1e-5)
    saved = load_tokenizer(folder)
    text = saved.decode(saved("<think>a</think>b")["input_ids"], skip_special_tokens=True)
    assert text == "<think>a</think>b"


def test_whoever_loads_a_merge_first_notes_what_the_next_one_is_held_against(base, tmp_path):
    one, two = (finished(tmp_path / name, base, args={"seed": seed}) for name, seed in (("one", 1), ("two", 2)))
    job = job_for(tmp_path / "three", artifact(one), [], inputs=("start", "other"))
    spec = replace(job.spec, type="merge", args={"method": "linear"})
    job = replace(job, spec=spec, inputs={"start": artifact(one), "other": artifact(two)})
    load_stage("merge").run(job)
    assert {name: found["files"] for name, found in job.dir.read_loaded().items()} == {"start": 7, "other": 7}
    merge = artifact(job)
    assert read_handover(merge.path).logprobs is None
    loads(tmp_path / "first", merge)
    first = read_handover(merge.path)
    assert first.rows == read_handover(one.dir.output / "model").rows
    loads(tmp_path / "second", merge)
    assert StageDir(tmp_path / "second" / "stage").read_loaded()["start"]["distance"] == 0
    shift_rows(merge.path)
    with pytest.raises(StageError, match="not the model that was trained"):
        loads(tmp_path / "third", merge)
    flip_byte(one.dir.output / "model")
    with pytest.raises(StageError, match="other bytes"):
        load_stage("merge").run(job)


@pytest.mark.parametrize("lora", [None, LORA], ids=["full", "lora"])
def test_a_model_that_is_loaded_in_a_coarser_type_than_it_was_saved_in_is_taken(tokenizer, tmp_path, lora):
    save_model(make_model(tokenizer), tokenizer, tmp_path / "start")  # weights that bfloat16 rounds
    start = Artifact(tmp_path / "start", "model", "0" * 16)
    job = finished(tmp_path / "one", start, lora=lora)
    loads(tmp_path / "two", artifact(job), trains=False, dtype="bfloat16")
    found = StageDir(tmp_path / "two" / "stage").read_loaded()["start"]
    assert 1e-4 < found["distance"] <= TOLERANCE["bfloat16"] / 5
    assert found["tolerance"] == TOLERANCE["bfloat16"]


def test_the_base_of_an_adapter_with_added_tags_on_quantised_weights_is_whole(tmp_path):
    pytest.importorskip("bitsandbytes", reason="4-bit weights need bitsandbytes")
    tokenizer = character_tokenizer("chatml", think_special=False)
    save_model(make_model(tokenizer, hidden=128).bfloat16(), tokenizer, tmp_path / "start")
    start = Artifact(tmp_path / "start", "model", "0" * 16)
    fields = {"dtype": "bfloat16", "lora": LORA, "quantization": QUANTIZED, "tags": True}
    first = finished(tmp_path / "one", start, **fields)
    job = finished(tmp_path / "two", artifact(first), **fields)
    assert job.dir.read_loaded()["start"]["distance"] <= TOLERANCE["bfloat16"] / 5
    before, after = load_file(start.path / "model.safetensors"), load_file(first.dir.path / "start/model.safetensors")
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(after[name][: len(value)], value), name
    assert len(after["model.embed_tokens.weight"]) == len(tokenizer) + 2
    assert load_model(job.dir.output / "model", dtype="bfloat16").dtype == torch.bfloat16  # without quantization


@pytest.mark.parametrize(
    "lora",
    [
        {"r": 4, "use_dora": True, "target_modules": "all-linear"},
        {"r": 4, "use_rslora": True, "target_modules": ["embed_tokens", "q_proj"]},
        {"r": 4, "target_modules": ["q_proj"], "modules_to_save": ["norm"]},
        {"r": 4, "target_modules": ["q_proj", "down_proj"], "rank_pattern": {"down_proj": 2}, "bias": "all"},
        {"r": 4, "target_modules": ["q_proj"], "init_lora_weights": "pissa"},
    ],
    ids=["dora", "embedding", "modules", "pattern", "pissa"],
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_every_kind_of_lora_is_gone_on_with(base, tmp_path, lora, dtype):
    first = finished(tmp_path / "one", base, lora=lora, dtype=dtype)
    job = finished(tmp_path / "two", artifact(first), "dpo", lora=lora, dtype=dtype, args={"learning_rate": 1e-12})
    found = job.dir.read_loaded()["start"]
    assert found["distance"] <= TOLERANCE["float32"] / 5
    trained = moved(state(first.dir.output / "model"), state(base.path))
    kept = moved(state(job.dir.output / "model"), state(first.dir.output / "model"))
    assert kept < (1e-3 if dtype == "float32" else 1e-2) * trained  # an adapter with biases is merged, and rounded
