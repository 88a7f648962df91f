from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from light_r1.errors import LightR1Error
from light_r1.models.merge import merge_models
from light_r1.models.merge_methods import dare_ties, slerp, ties, trim
from light_r1.models.merge_output import INDEX, Entry, write_model
from tests.conftest import make_model
from tests.shared import killed_before_the_rename


def naive_ties(base, models, weights, densities, scale, normalize):
    """TIES entry by entry, with Python numbers."""
    deltas = []
    for model, density in zip(models, densities, strict=True):
        delta = [m - b for m, b in zip(model, base, strict=True)]
        count = len(delta) if density >= 1 else max(1, round(density * len(delta)))
        kept = sorted(range(len(delta)), key=lambda i: -abs(delta[i]))[:count]
        deltas.append([value if i in kept else 0.0 for i, value in enumerate(delta)])
    merged = []
    for i, start in enumerate(base):
        total = sum(w * d[i] for w, d in zip(weights, deltas, strict=True))
        sign = (total > 0) - (total < 0)
        part = [(w, d[i]) for w, d in zip(weights, deltas, strict=True) if d[i] and ((d[i] > 0) - (d[i] < 0)) == sign]
        value = sum(w * d for w, d in part)
        if normalize and part:
            value /= sum(w for w, _ in part)
        merged.append(start + scale * value)
    return merged


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.2, 0.5, 1.0]), st.booleans(), st.sampled_from([1.0, 0.5]))
def test_ties_equals_the_naive_reference(seed, density, normalize, scale):
    generator = torch.Generator().manual_seed(seed)
    base, one, two, three = torch.randn(4, 12, generator=generator)
    weights, densities = [1.0, 0.5, 2.0], [density, 1.0, 0.5]
    found = ties(base, [one, two, three], weights, densities, scale=scale, normalize=normalize)
    models = [one.tolist(), two.tolist(), three.tolist()]
    expected = naive_ties(base.tolist(), models, weights, densities, scale, normalize)
    assert torch.allclose(found, torch.tensor(expected), atol=1e-5)


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


def test_a_merge_killed_over_an_older_one_leaves_no_folder_that_looks_complete(folders, tmp_path):
    out = merge_models(folders[:2], tmp_path / "out", method="linear", shard_bytes=8_000)
    models = [str(folder) for folder in folders[1:]]
    code = f"""
from light_r1.models.merge import merge_models
merge_models({models!r}, {str(out)!r}, method="linear", shard_bytes=8_000)
"""
    killed_before_the_rename(out / INDEX, code)
    assert list(out.glob("*.safetensors"))
    assert not (out / "config.json").exists()
    assert not (out / INDEX).exists()


def test_other_tensors_than_announced_are_told(tmp_path):
    with pytest.raises(LightR1Error, match=r"b \(8 bytes\) came where a \(4\) was due"):
        write_model(tmp_path, {"a": Entry("F32", (1,))}, [("b", torch.ones(2))], shard_bytes=80)
    with pytest.raises(LightR1Error, match=r"nothing .* came where a"):
        write_model(tmp_path, {"a": Entry("F32", (1,))}, [], shard_bytes=80)
    with pytest.raises(LightR1Error, match="type U4 cannot be merged"):
        write_model(tmp_path, {"a": Entry("U4", (1,))}, [], shard_bytes=80)


def test_other_shapes_and_names_are_told(folders, tokenizer, tmp_path):
    make_model(tokenizer, layers=3).save_pretrained(tmp_path / "deep")
    with pytest.raises(LightR1Error, match=r"only in the first \(model.layers.2"):
        merge_models([folders[0], tmp_path / "deep"], tmp_path / "out", method="linear")
    model = make_model(tokenizer)
    model.resize_token_embeddings(len(tokenizer) + 8)
    model.save_pretrained(tmp_path / "wide")
    with pytest.raises(LightR1Error, match=r"embed_tokens.weight is \[\d+, 32\]"):
        merge_models([folders[0], tmp_path / "wide"], tmp_path / "out", method="linear")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "ties"}, "needs a base"),
        ({"method": "tise"}, "is not one of linear"),
        ({"method": "linear", "weights": [1.0]}, "1 weights for 2 models"),
        ({"method": "linear", "weights": [1.0, -1.0]}, "add up to 0"),
        ({"method": "dare_ties", "base": "x", "densities": [0.0, 1.0]}, "above 0"),
    ],
)
def test_missing_options_are_told(folders, tmp_path, options, message):
    with pytest.raises(LightR1Error, match=message):
        merge_models(folders[:2], tmp_path / "out", **options)


@pytest.mark.parametrize("place", ["first", "second", "base"])
def test_a_merge_into_one_of_its_models_is_refused(folders, tmp_path, place):
    first, second, base = folders
    out = {"first": first, "second": second, "base": base}[place]
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(LightR1Error, match="one of the models"):
        merge_models([first, second], f"{out}/../{out.name}", method="linear", base=base)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_what_is_no_model_is_told(folders, tmp_path):
    with pytest.raises(LightR1Error, match="not a folder"):
        merge_models([folders[0], tmp_path / "nowhere"], tmp_path / "out", method="linear")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LightR1Error, match="no safetensors files"):
        merge_models([folders[0], tmp_path / "empty"], tmp_path / "out", method="linear")
