from __future__ import annotations

import json
import os
import shutil

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from light_r1.errors import LightR1Error
from light_r1.models.handover import Handover, write_handover
from light_r1.models.load import add_think_tokens, load_tokenizer
from light_r1.models.merge import merge_models
from light_r1.models.merge_inputs import fit_rows
from light_r1.models.merge_methods import dare_ties, slerp, ties, trim
from light_r1.models.merge_output import INDEX, Entry, write_model
from tests.conftest import character_tokenizer, make_model
from tests.shared import killed_before_the_rename


def naive_ties(base, models, weights, densities, scale, normalize):
    """TIES entry by entry, with Python numbers; a vote is weight times entry."""
    deltas = []
    for model, density in zip(models, densities, strict=True):
        delta = [m - b for m, b in zip(model, base, strict=True)]
        count = len(delta) if density >= 1 else max(1, round(density * len(delta)))
        kept = sorted(range(len(delta)), key=lambda i: -abs(delta[i]))[:count]
        deltas.append([value if i in kept else 0.0 for i, value in enumerate(delta)])
    merged = []
    for i, start in enumerate(base):
        votes = [(weight, weight * delta[i]) for weight, delta in zip(weights, deltas, strict=True)]
        total = sum(vote for _, vote in votes)
        part = [(weight, vote) for weight, vote in votes if vote * total > 0]
        value = sum(vote for _, vote in part)
        if normalize and part:
            value /= sum(weight for weight, _ in part) or 1.0
        merged.append(start + scale * value)
    return merged


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.2, 0.5, 1.0]),
    st.sampled_from([(1.0, 0.5, 2.0), (1.0, -0.5, 2.0), (-1.0, -0.25, 0.5), (1.0, 0.0, -2.0)]),
    st.booleans(),
    st.sampled_from([1.0, 0.5]),
)
def test_ties_equals_the_naive_reference(seed, density, weights, normalize, scale):
    generator = torch.Generator().manual_seed(seed)
    base, one, two, three = torch.randn(4, 12, generator=generator)
    densities = [density, 1.0, 0.5]
    found = ties(base, [one, two, three], weights, densities, scale=scale, normalize=normalize)
    models = [one.tolist(), two.tolist(), three.tolist()]
    expected = naive_ties(base.tolist(), models, weights, densities, scale, normalize)
    assert torch.allclose(found, torch.tensor(expected), atol=1e-4)


@pytest.mark.parametrize("weights", [(1.0, 0.5, 2.0), (1.0, -0.5, 2.0), (-1.0, -0.25, 0.5)])
@pytest.mark.parametrize("normalize", [True, False])
def test_signs_are_elected_as_mergekit_elects_them_by_sum(weights, normalize):
    base, *models = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    found = ties(base, models, weights, [1.0, 1.0, 1.0], scale=1.0, normalize=normalize)
    # The formula of mergekit 0.1.5, generalized_task_arithmetic.py, at density 1.
    factors = torch.tensor(weights)[:, None]
    votes = torch.stack([model - base for model in models]) * factors
    mask = votes.sign() == (votes.sum(0) >= 0).float() * 2 - 1
    mixed, divisor = (votes * mask).sum(0), (factors * mask).sum(0)
    divisor[divisor == 0] = 1
    expected = base + (mixed / divisor if normalize else mixed)
    assert torch.allclose(found, expected, atol=1e-4)


def test_trim_keeps_the_largest_share():
    vector = torch.tensor([0.1, -5.0, 3.0, 0.2])
    assert trim(vector, 0.5).tolist() == [0.0, -5.0, 3.0, 0.0]
    assert int((trim(torch.ones(10), 0.3) != 0).sum()) == 3


def test_dare_keeps_the_task_vector_on_average_and_repeats():
    base, model = torch.zeros(200_000), torch.ones(200_000)
    options = {"scale": 1.0, "normalize": True}
    one = dare_ties(base, [model], [1.0], [0.25], key="0:a", **options)
    assert torch.equal(one, dare_ties(base, [model], [1.0], [0.25], key="0:a", **options))
    assert not torch.equal(one, dare_ties(base, [model], [1.0], [0.25], key="1:a", **options))
    assert float(one.mean()) == pytest.approx(1.0, abs=0.02)
    assert set(one.unique().tolist()) == {0.0, 4.0}


def test_slerp_keeps_the_length_and_meets_both_ends():
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([0.0, 3.0])
    assert torch.allclose(slerp(a, b, 0.5), torch.tensor([1.5, 1.5]) * 2**0.5, atol=1e-5)
    assert torch.allclose(slerp(a, b, 0.0), a, atol=1e-5)
    assert torch.allclose(slerp(a, b, 1.0), b, atol=1e-5)
    assert torch.allclose(slerp(a, 2 * a, 0.5), 1.5 * a)


@pytest.fixture
def folders(tokenizer, tmp_path):
    paths = []
    for seed in range(3):
        path = tmp_path / f"model-{seed}"
        make_model(tokenizer, seed=seed).save_pretrained(path)
        tokenizer.save_pretrained(path)
        paths.append(path)
    return paths


@pytest.mark.parametrize("shard_bytes", [10**9, 8_000])
def test_linear_merge_of_folders_loads_as_a_model(folders, tmp_path, shard_bytes):
    out = merge_models(folders[:2], tmp_path / "out", method="linear", weights=[1.0, 3.0], shard_bytes=shard_bytes)
    one, two, merged = (AutoModelForCausalLM.from_pretrained(p).state_dict() for p in (*folders[:2], out))
    for name in one:
        assert torch.allclose(merged[name], 0.25 * one[name] + 0.75 * two[name], atol=1e-6)
    assert (out / "tokenizer.json").exists()
    assert (out / "config.json").exists()
    assert (len(list(out.glob("*.safetensors"))) > 1) == (shard_bytes == 8_000)


@pytest.mark.parametrize("method", ["ties", "dare_ties"])
def test_merge_of_a_model_with_its_base_alone_gives_the_model_back(folders, tmp_path, method):
    out = merge_models(
        [folders[1], folders[1]], tmp_path / "out", method=method, base=folders[0], densities=[1.0, 1.0]
    )
    expected, found = load_file(folders[1] / "model.safetensors"), load_file(out / "model.safetensors")
    assert all(torch.allclose(expected[name], found[name], atol=1e-5) for name in expected)


def test_an_adapter_is_merged_into_its_base_first(folders, tokenizer, tmp_path):
    adapted = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folders[0]),
        LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM"),
    )
    adapted.save_pretrained(tmp_path / "adapter")
    tokenizer.save_pretrained(tmp_path / "adapter")
    out = merge_models([tmp_path / "adapter", folders[0]], tmp_path / "out", method="linear")
    whole = adapted.merge_and_unload().state_dict()
    base, found = load_file(folders[0] / "model.safetensors"), load_file(out / "model.safetensors")
    name = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.allclose(whole[name], base[name], atol=1e-3)
    assert torch.allclose(found[name], 0.5 * (whole[name] + base[name]), atol=1e-5)
    assert not list(tmp_path.glob(".out*")), "the temporary model is left behind"


def test_two_adapters_side_by_side_are_both_merged(folders, tokenizer, tmp_path):
    whole = []
    for seed, name in enumerate(("one", "two")):
        torch.manual_seed(seed)
        adapted = get_peft_model(
            AutoModelForCausalLM.from_pretrained(folders[0]),
            LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM"),
        )
        adapted.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        whole.append(adapted.merge_and_unload().state_dict()["model.layers.0.self_attn.q_proj.weight"])
    out = merge_models([tmp_path / "one", tmp_path / "two"], tmp_path / "out", method="linear")
    found = load_file(out / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"]
    assert not torch.allclose(whole[0], whole[1], atol=1e-3)
    assert torch.allclose(found, 0.5 * (whole[0] + whole[1]), atol=1e-5)


def test_files_are_those_that_safetensors_writes(tmp_path):
    tensors = {
        "a.weight": torch.randn(3, 5).bfloat16(),
        "b": torch.tensor(2.5),
        "c": torch.randn(4, 2).T,
        "d": torch.tensor([True, False]),
        "é": torch.arange(3),
    }
    types = {torch.bfloat16: "BF16", torch.float32: "F32", torch.bool: "BOOL", torch.int64: "I64"}
    entries = {name: Entry(types[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}
    write_model(tmp_path, entries, tensors.items(), shard_bytes=10**6)
    found = load_file(tmp_path / "model.safetensors")
    assert found.keys() == tensors.keys()
    assert all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in tensors.items()
    )


def test_shards_hold_the_bound_and_the_index_names_each_tensor(tmp_path):
    entries = {str(i): Entry("F32", (n,)) for i, n in enumerate((10, 10, 100, 10))}
    write_model(tmp_path, entries, ((k, torch.ones(e.shape)) for k, e in entries.items()), shard_bytes=80)
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert [index["weight_map"][name][6:11] for name in entries] == ["00001", "00001", "00002", "00003"]
    assert index["metadata"]["total_size"] == 520
    for name, file in index["weight_map"].items():
        assert torch.equal(load_file(tmp_path / file)[name], torch.ones(entries[name].shape))


def test_other_tensors_than_announced_are_told(tmp_path):
    with pytest.raises(LightR1Error, match=r"b \(8 bytes\) came where a \(4\) was due"):
        write_model(tmp_path, {"a": Entry("F32", (1,))}, [("b", torch.ones(2))], shard_bytes=80)
    with pytest.raises(LightR1Error, match=r"nothing .* came where a"):
        write_model(tmp_path, {"a": Entry("F32", (1,))}, [], shard_bytes=80)
    with pytest.raises(LightR1Error, match="type U4 cannot be written"):
        write_model(tmp_path, {"a": Entry("U4", (1,))}, [], shard_bytes=80)


def test_other_shapes_and_names_are_told(folders, tokenizer, tmp_path):
    make_model(tokenizer, layers=3).save_pretrained(tmp_path / "deep")
    with pytest.raises(LightR1Error, match=r"only in the second \(model.layers.2|only in the first \(model.layers.2"):
        merge_models([folders[0], tmp_path / "deep"], tmp_path / "out", method="linear")
    make_model(tokenizer, hidden=64).save_pretrained(tmp_path / "wide")
    with pytest.raises(LightR1Error, match=r"embed_tokens.weight is \[\d+, 32\] in .* and \[\d+, 64\]"):
        merge_models([folders[0], tmp_path / "wide"], tmp_path / "out", method="linear")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ties"}, "needs a base"),
        ({"method": "tise"}, "expected linear, slerp"),
        ({"method": "linear", "weights": [1.0]}, "1 weights for 2 models"),
        ({"method": "linear", "weights": [1.0, -1.0]}, "sum to zero"),
        ({"method": "slerp", "weights": [1.0, -1.0], "normalize": False}, "sum to zero"),
        ({"method": "linear", "weights": [1.0, float("nan")]}, "finite"),
        ({"method": "ties", "base": "x", "densities": [1.0, 1.0], "scale": float("inf")}, "finite"),
        ({"method": "dare_ties", "base": "x", "densities": [0.0, 1.0]}, "above 0"),
    ],
)
def test_missing_options_are_told(folders, tmp_path, options, message):
    with pytest.raises(LightR1Error, match=message):
        merge_models(folders[:2], tmp_path / "out", **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("layouts", [(10**9, 8_000), (8_000, 10**9), (8_000, 20_000)])
def test_a_merge_over_an_older_one_leaves_the_files_of_the_new_one_alone(folders, tmp_path, layouts):
    old, new = layouts
    out = merge_models(folders[:2], tmp_path / "out", method="linear", shard_bytes=old)
    merge_models(folders[1:], out, method="linear", shard_bytes=new)
    fresh = merge_models(folders[1:], tmp_path / "fresh", method="linear", shard_bytes=new)
    assert contents(out) == contents(fresh)
    one, two = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (out, fresh))
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_merge_killed_over_an_older_one_leaves_no_mixture(folders, tmp_path):
    out = merge_models(folders[:2], tmp_path / "out", method="linear", shard_bytes=8_000)
    before = contents(out)
    models = [str(folder) for folder in folders[1:]]
    code = f"""
from light_r1.models.merge import merge_models
merge_models({models!r}, {str(out)!r}, method="linear")
"""
    killed_before_the_rename(out, code)
    assert not out.exists()
    old, new = sorted(tmp_path.glob(".out.*"))
    assert (old.suffix, contents(old)) == (".old", before)
    assert contents(new) == contents(merge_models(folders[1:], out, method="linear"))


@pytest.mark.parametrize("place", ["a note", "a folder", "a file"])
def test_what_is_no_model_alone_is_not_replaced(folders, tmp_path, place):
    out = tmp_path / "out"
    if place == "a file":
        out.write_text("mine")
    else:
        merge_models(folders[:2], out, method="linear") if place == "a folder" else out.mkdir()
        (out / ".git").mkdir() if place == "a folder" else (out / "notes.txt").write_text("mine")
    with pytest.raises(LightR1Error, match="no folder of a model alone"):
        merge_models(folders[:2], out, method="linear")
    assert out.read_text() == "mine" if place == "a file" else any(out.iterdir())


def related(kind, folders, tmp_path):
    """An output that is related to the first model, and the models to merge."""
    first, second, base = folders
    out = tmp_path / "out"
    if kind == "itself":
        out = first / ".." / first.name
    elif kind == "base":
        out = base
    elif kind == "link to it":
        out.symlink_to(first)
    elif kind == "inside":
        out = first / "merged"
    elif kind == "around":
        out.mkdir()
        first = first.rename(out / "first")
    elif kind == "around the base":
        out.mkdir()
        base = base.rename(out / "base")
    elif kind == "holds its files":  # as a snapshot of the hub's cache does
        shutil.copytree(first, out)
        for file in first.iterdir():
            file.unlink()
            file.symlink_to(out / file.name)
    elif kind == "base of the adapter":
        out = save_adapter(base, tmp_path / "adapter")
        first, out = out, base
    return out, [first, second], base


def save_adapter(base, folder, seed=0):
    """A LoRA adapter on every weight of attention, away from zero."""
    torch.manual_seed(seed)
    whole = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
    options = {"r": 2, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False, "task_type": "CAUSAL_LM"}
    get_peft_model(whole, LoraConfig(**options)).save_pretrained(folder)
    load_tokenizer(base).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    "kind",
    [
        "itself", "base", "link to it", "inside", "around", "around the base", "holds its files",
        "base of the adapter",
    ],
)  # fmt: skip
def test_nothing_that_is_read_is_written_over(folders, tmp_path, kind):
    out, models, base = related(kind, folders, tmp_path)
    before = {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()}
    with pytest.raises(LightR1Error, match="which is read"):
        merge_models(models, out, method="linear", base=None if kind == "base of the adapter" else base)
    assert {path: path.read_bytes() for path in sorted(tmp_path.rglob("*")) if path.is_file()} == before


def test_files_that_the_output_shares_with_a_model_keep_their_bytes(folders, tmp_path):
    out, before = tmp_path / "out", contents(folders[0])
    out.mkdir()
    for file in folders[0].iterdir():
        os.link(file, out / file.name)
    merge_models(folders[:2], out, method="linear")
    assert contents(folders[0]) == before
    assert contents(out)["model.safetensors"] != before["model.safetensors"]


def test_an_output_that_is_a_link_stays_one(folders, tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    merge_models(folders[:2], tmp_path / "out", method="linear")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk/config.json").is_file()


def test_what_is_no_model_is_told(folders, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, message in ((tmp_path / "nowhere", "not a folder"), (empty, "no safetensors files")):
        with pytest.raises(LightR1Error, match=message):
            merge_models([folders[0], path], tmp_path / "out", method="linear")
    (empty / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(LightR1Error, match="Convert it first"):
        merge_models([folders[0], empty], tmp_path / "out", method="linear")
    (empty / INDEX).write_text(json.dumps({"weight_map": {"a": "model-00001-of-00002.safetensors"}}))
    with pytest.raises(LightR1Error, match=r"model-00001-of-00002\.safetensors, not there"):
        merge_models([folders[0], empty], tmp_path / "out", method="linear")
    (empty / "model.safetensors").write_bytes(b"")
    with pytest.raises(LightR1Error, match="two sets of weights"):
        merge_models([folders[0], empty], tmp_path / "out", method="linear")
    assert not (tmp_path / "out").exists()


def edit(folder, change):
    """Rewrite the weights of a folder."""
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_tensor_with_what_is_no_number_is_named_with_its_model(folders, tmp_path, value, place):
    out = merge_models(folders[:2], tmp_path / "out", method="linear")
    before, name = contents(out), "model.norm.weight"  # the last to be written
    edit(folders[place], lambda tensors: tensors[name].__setitem__(3, value))
    with pytest.raises(LightR1Error, match=rf"{name} of .*{folders[place].name} holds NaN or infinity \(1 of 32"):
        merge_models(folders[:2], out, method="ties", base=folders[2], densities=[1.0, 1.0])
    assert contents(out) == before
    assert not list(tmp_path.glob(".out*"))


def test_a_result_that_overflows_its_type_is_named(folders, tmp_path):
    for folder in folders[:2]:
        edit(folder, lambda tensors: tensors.update({name: t.half() for name, t in tensors.items()}))
    options = {"method": "linear", "normalize": False, "weights": [6e4, 6e4]}
    with pytest.raises(LightR1Error, match=r"the merged .* holds NaN or infinity"):
        merge_models(folders[:2], tmp_path / "out", **options)
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize(
    "extra",
    [
        torch.arange(4),
        torch.tensor(7),
        torch.tensor([True]),
        torch.tensor([1.0, torch.nan]).to(torch.float8_e4m3fn),
    ],
)
def test_what_cannot_be_averaged_is_kept_where_it_is_the_same_and_refused_where_not(folders, tmp_path, extra):
    for folder in folders[:2]:
        edit(folder, lambda tensors: tensors.update(extra=extra))
    out = merge_models(folders[:2], tmp_path / "out", method="linear")
    found = load_file(out / "model.safetensors")["extra"]
    assert found.dtype == extra.dtype
    assert torch.equal(found.flatten().view(torch.uint8), extra.flatten().view(torch.uint8))
    edit(folders[1], lambda tensors: tensors.update(extra=torch.zeros_like(extra)))
    with pytest.raises(LightR1Error, match=r"extra .* differs"):
        merge_models(folders[:2], tmp_path / "other", method="linear")


def test_quantised_models_are_refused(folders, tmp_path):
    config = json.loads((folders[1] / "config.json").read_text())
    (folders[1] / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "fp8"}}))
    with pytest.raises(LightR1Error, match=r"quantised \(fp8\)"):
        merge_models(folders[:2], tmp_path / "out", method="linear")


METHODS = {
    "linear": {"weights": [0.25, 0.75]},
    "slerp": {"weights": [0.25, 0.75]},
    "ties": {"densities": [0.5, 1.0], "weights": [1.0, 0.5]},
    "dare_ties": {"densities": [0.5, 1.0], "weights": [1.0, 0.5]},
}
TAGS = ["<reason>", "</reason>"]


def vocabulary_folders(tmp_path, lengths, *, tied):
    """Models of one size, each with the tokens of the first and the first few of more tokens."""
    folders = []
    for place, length in enumerate(lengths):
        tokenizer = character_tokenizer("chatml", think_special=True)
        tokenizer.add_tokens([*TAGS, "<more>"][:length])
        folder = tmp_path / f"vocabulary-{place}"
        make_model(tokenizer, seed=place, tied=tied).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        folders.append(folder)
    return folders


def grown(folder, to, rows):
    """The model with a vocabulary of so many rows: cut, or filled up with its mean row."""
    shutil.copytree(folder, to)

    def change(tensors):
        for name in tensors.keys() & {"model.embed_tokens.weight", "lm_head.weight"}:
            own = tensors[name]
            more = [own.mean(0) for _ in range(rows - len(own))]
            tensors[name] = torch.stack([*own[:rows], *more])

    edit(to, change)
    config = json.loads((to / "config.json").read_text())
    (to / "config.json").write_text(json.dumps({**config, "vocab_size": rows}))
    return to


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("lengths", "tied"),
    [
        ((2, 2, 0), True),
        ((2, 2, 0), False),
        ((0, 2, 0), False),
        ((3, 2, 0), True),
        ((2, 0, 2), False),
        ((0, 2, 3), True),
    ],
)
def test_vocabularies_that_go_on_from_each_other_merge_as_if_all_had_been_grown(tmp_path, lengths, method, tied):
    *models, base = vocabulary_folders(tmp_path, lengths, tied=tied)
    longest = models[lengths.index(max(lengths[:2]))]
    tokenizer = load_tokenizer(longest)
    base_of_all = {"base": base} if "ties" in method else {}
    out = merge_models(models, tmp_path / "out", method=method, **METHODS[method], **base_of_all)
    same = [grown(folder, tmp_path / f"grown-{folder.name}", len(tokenizer)) for folder in (*models, base)]
    expected = merge_models(
        same[:2], tmp_path / "expected", method=method, **METHODS[method], **({"base": same[2]} if base_of_all else {})
    )
    found, wanted = load_file(out / "model.safetensors"), load_file(expected / "model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(torch.allclose(found[name], wanted[name], atol=1e-6) for name in found)
    assert AutoModelForCausalLM.from_pretrained(out).get_input_embeddings().weight.shape[0] == len(tokenizer)
    assert load_tokenizer(out).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize("tied", [True, False])
def test_rows_of_new_tokens_are_where_training_gives_them_a_start(tokenizer, tied):
    own = character_tokenizer("chatml", think_special=False)
    model = make_model(own, tied=tied)
    ends = {name: getattr(model, f"get_{name}_embeddings")().weight.detach().clone() for name in ("input", "output")}
    ids = add_think_tokens(model, own, TAGS)
    assert len(ids) == 2
    for name, before in ends.items():
        after = getattr(model, f"get_{name}_embeddings")().weight
        spread = float(before.std())
        assert torch.allclose(fit_rows(before, len(own)), after, atol=1e-3 * spread)


def test_vocabularies_of_two_lengths_that_share_no_ids_are_told(tmp_path):
    folders = vocabulary_folders(tmp_path, (0, 2), tied=True)
    other = character_tokenizer("plain", think_special=True)
    other.save_pretrained(folders[0])
    with pytest.raises(LightR1Error, match=r"tokens of .* differ: \d+ is '.*' in the first and '.*' in the second"):
        merge_models(folders, tmp_path / "out", method="linear")
    (folders[0] / "tokenizer.json").unlink()
    with pytest.raises(LightR1Error, match=rf"no tokenizer.json in {folders[0]}"):
        merge_models(folders, tmp_path / "out", method="linear")


def test_equally_long_vocabularies_of_other_tokens_are_warned_of(folders, tmp_path, caplog):
    character_tokenizer("qwen3", think_special=False).save_pretrained(folders[1])
    merge_models(folders[:2], tmp_path / "out", method="linear")
    assert "their rows are merged as they stand" in caplog.text


def store_the_tied_head(folder):
    edit(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stored", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_a_tied_output_layer_may_be_stored_or_not(folders, tmp_path, method, stored):
    base = {"base": folders[2]} if "ties" in method else {}
    expected = merge_models(folders[:2], tmp_path / "expected", method=method, **METHODS[method], **base)
    for place in stored:
        store_the_tied_head(folders[place])
    out = merge_models(folders[:2], tmp_path / "out", method=method, **METHODS[method], **base)
    one, two = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (expected, out))
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("order", [1, -1])
def test_an_output_layer_of_its_own_beside_a_tied_one_is_told(folders, tmp_path, order):
    edit(folders[1], lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"] + 1}))
    with pytest.raises(LightR1Error, match=r"lm_head.weight\).* Only an output layer that is a copy"):
        merge_models(folders[:2][::order], tmp_path / "out", method="linear")


@pytest.mark.parametrize(
    "config",
    [
        {"dtype": "bfloat16"},
        {"torch_dtype": "bfloat16"},
        {},
        {"dtype": "float32"},
    ],
)
@pytest.mark.parametrize("models", [1, 2])
def test_the_types_of_an_adapters_merge_are_those_of_the_tensors_of_its_base(folders, tmp_path, config, models):
    def to_bfloat16(tensors):
        tensors.update({name: tensor.bfloat16() for name, tensor in tensors.items() if "norm" not in name})

    for folder in folders[:2]:
        edit(folder, to_bfloat16)
        content = json.loads((folder / "config.json").read_text())
        del content["dtype"]
        (folder / "config.json").write_text(json.dumps({**content, **config}))
    sources = [save_adapter(folders[0], tmp_path / "adapter"), folders[1]][:models]
    out = merge_models(sources, tmp_path / "out", method="linear")
    base, found = load_file(folders[0] / "model.safetensors"), load_file(out / "model.safetensors")
    assert {name: tensor.dtype for name, tensor in found.items()} == {n: t.dtype for n, t in base.items()}
    assert AutoModelForCausalLM.from_pretrained(out, dtype="auto").dtype == torch.bfloat16


def test_a_merge_of_one_adapter_is_its_base_with_the_adapter(folders, tmp_path):
    adapter = save_adapter(folders[0], tmp_path / "adapter")
    out = merge_models([adapter], tmp_path / "out", method="linear")
    whole = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(folders[0]), adapter).merge_and_unload()
    found = AutoModelForCausalLM.from_pretrained(out).state_dict()
    assert all(torch.allclose(found[name], tensor, atol=1e-6) for name, tensor in whole.state_dict().items())
    assert not torch.equal(
        found["model.layers.0.self_attn.q_proj.weight"],
        load_file(folders[0] / "model.safetensors")["model.layers.0.self_attn.q_proj.weight"],
    )
    assert sorted(path.name for path in out.iterdir()) == sorted(
        {path.name for path in folders[0].iterdir()} - {"README.md"}
    )


def test_a_merge_takes_no_log_probs_and_no_card_from_a_model_that_it_is_not(folders, tmp_path):
    write_handover(folders[0], Handover([[1, 2]], [[-1.0]], 9))
    (folders[0] / "README.md").write_text("the card of another model")
    out = merge_models(folders[:2], tmp_path / "out", method="linear")
    assert {path.name for path in out.iterdir()} == {path.name for path in folders[1].iterdir()}
