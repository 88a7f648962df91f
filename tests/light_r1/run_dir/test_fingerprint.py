import enum
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from light_r1.errors import DataError
from light_r1.run_dir.fingerprint import INERT, canonical, fingerprint, stage_fingerprint
from light_r1.run_dir.hashes import file_hash, model_folder_hash

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
BASE = {
    "type": "dpo",
    "version": 1,
    "seed": 42,
    "args": {"learning_rate": 5e-7, "max_length": 32768},
    "model": {"dtype": "bfloat16"},
    "chat": {"template": "auto"},
    "inputs": {"sft": "a" * 16},
    "data": {"pairs": "b" * 64},
}


@given(st.dictionaries(st.text(), json_values))
def test_order_of_keys_does_not_count_and_json_round_trip_keeps_it(mapping):
    backwards = dict(reversed(list(mapping.items())))
    assert fingerprint(mapping) == fingerprint(backwards) == fingerprint(json.loads(canonical(mapping)))


@given(json_values, json_values)
def test_differs_exactly_where_the_json_text_differs(one, other):
    same = json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    assert (fingerprint({"x": one}) == fingerprint({"x": other})) is same


def test_is_the_same_in_another_process_with_another_hash_seed():
    code = f"from light_r1.run_dir.fingerprint import fingerprint; print(fingerprint({BASE!r}))"
    seen = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("0", "1", "random")
    }
    assert seen == {fingerprint(BASE)}
    assert len(fingerprint(BASE)) == 16


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ({"args": {"path": Path("x")}}, "args.path"),
        ({"args": {"fields": {"a", "b"}}}, "args.fields"),
        ({"steps": [{"tool": object()}]}, "steps[0].tool"),
        ({"args": {1: "x"}}, "args"),
        ({"x": b"bytes"}, "x"),
        ({"x": lambda: None}, "x"),
    ],
)
def test_refuses_what_has_no_stable_text_and_names_it(value, key):
    with pytest.raises(TypeError, match=key.replace("[", r"\[").replace("]", r"\]")):
        fingerprint(value)


def test_an_enum_that_is_text_counts_as_its_text():
    class Strategy(str, enum.Enum):  # noqa: UP042 as transformers declares its own
        STEPS = "steps"

    assert fingerprint({"x": Strategy.STEPS}) == fingerprint({"x": "steps"})


@pytest.mark.parametrize("ingredient", sorted(BASE))
def test_every_ingredient_of_a_stage_counts(ingredient):
    changed = {**BASE, ingredient: "something else"}
    assert stage_fingerprint(changed) != stage_fingerprint(BASE)


@pytest.mark.parametrize("name", sorted(INERT))
def test_inert_args_do_not_count_but_the_same_key_elsewhere_does(name):
    args = {**BASE["args"], name: "anything"}
    assert stage_fingerprint({**BASE, "args": args}) == stage_fingerprint(BASE)
    assert stage_fingerprint({**BASE, "model": {**BASE["model"], name: "anything"}}) != stage_fingerprint(BASE)


def test_every_inert_name_is_a_field_and_has_a_reason():
    from dataclasses import fields

    from trl import DPOConfig, GRPOConfig, SFTConfig

    known = {field.name for config in (SFTConfig, DPOConfig, GRPOConfig) for field in fields(config)}
    assert set(INERT) - known == set()
    assert all(INERT.values())


def test_saving_counts_when_the_best_checkpoint_is_loaded_at_the_end():
    def with_args(**args):
        return stage_fingerprint({**BASE, "args": {**BASE["args"], **args}})

    assert with_args(save_steps=10) == with_args(save_steps=20)
    best = {"load_best_model_at_end": True}
    assert with_args(save_steps=10, **best) != with_args(save_steps=20, **best)
    assert with_args(logging_steps=10, **best) == with_args(logging_steps=20, **best)


def test_file_hash_is_that_of_the_bytes_and_uses_the_cache_only_while_the_file_is_unchanged(tmp_path):
    import hashlib

    file, cache = tmp_path / "rows.jsonl", tmp_path / "cache" / "hashes.json"
    file.write_bytes(b"one\n")
    os.utime(file, ns=(10**18, 10**18))
    first = hashlib.sha256(b"one\n").hexdigest()
    assert file_hash(file, cache=cache) == first
    # Same size and time: the cache answers, which proves that it is used.
    file.write_bytes(b"two\n")
    os.utime(file, ns=(10**18, 10**18))
    assert file_hash(file, cache=cache) == first
    assert file_hash(file) == hashlib.sha256(b"two\n").hexdigest()
    os.utime(file, ns=(10**18, 10**18 + 1))
    assert file_hash(file, cache=cache) == hashlib.sha256(b"two\n").hexdigest()


def test_a_file_written_a_moment_ago_is_not_remembered(tmp_path):
    file, cache = tmp_path / "rows.jsonl", tmp_path / "hashes.json"
    file.write_text("one")
    now = file.stat().st_mtime_ns
    old = file_hash(file, cache=cache)
    file.write_text("two")
    os.utime(file, ns=(now, now))
    assert file_hash(file, cache=cache) != old


def test_a_torn_cache_is_left_out_and_replaced(tmp_path, caplog):
    file, cache = tmp_path / "rows", tmp_path / "hashes.json"
    file.write_text("one")
    os.utime(file, ns=(10**18, 10**18))
    cache.write_text('{"torn": [1, 2')
    assert file_hash(file, cache=cache) == file_hash(file)
    assert "not readable" in caplog.text
    assert str(file.resolve()) in json.loads(cache.read_text())


def test_folder_hash_sees_names_and_bytes_but_not_hidden_files(tmp_path):
    folder = tmp_path / "set"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.arrow").write_text("1")
    (folder / "deep" / "b.arrow").write_text("2")
    first = file_hash(folder)
    (folder / ".cache").write_text("x")
    assert file_hash(folder) == first
    (folder / "deep" / "b.arrow").rename(folder / "deep" / "c.arrow")
    assert file_hash(folder) != first


def test_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.jsonl: no such file"):
        file_hash(tmp_path / "nowhere.jsonl")


def write_safetensors(path, size, seed=0):
    """A weight file of one tensor, sparse on disk so that a large one costs nothing."""
    header = json.dumps({"w": {"dtype": "U8", "shape": [size], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.write(bytes([seed]) * 16)
        stream.truncate(8 + len(header) + size)


def test_model_hash_sees_weights_config_and_tokenizer_but_not_the_card(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    write_safetensors(tmp_path / "model.safetensors", 1000)
    seen = [model_folder_hash(tmp_path)]
    for leftover in (
        "README.md",
        "training_args.bin",
        "optimizer.pt",
        "trainer_state.json",
        "rng_state_0.pth",
    ):
        (tmp_path / leftover).write_text("x")
    (tmp_path / "checkpoint-5").mkdir()
    (tmp_path / "checkpoint-5" / "model.safetensors").write_text("x")
    assert model_folder_hash(tmp_path) == seen[0]
    write_safetensors(tmp_path / "model.safetensors", 1000, seed=1)
    seen.append(model_folder_hash(tmp_path))
    (tmp_path / "config.json").write_text('{"a": 1}')
    seen.append(model_folder_hash(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    seen.append(model_folder_hash(tmp_path))
    assert len(set(seen)) == 4


def test_model_hash_of_a_large_file_sees_head_tail_and_size_without_reading_it_all(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    file = tmp_path / "model.safetensors"
    size = 300 << 20
    write_safetensors(file, size)
    seen = {model_folder_hash(tmp_path)}
    write_safetensors(file, size + 8)
    seen.add(model_folder_hash(tmp_path))
    write_safetensors(file, size)
    for offset in (-1, -size // 2, 200 - size):  # the tail, the middle window, the head
        with file.open("r+b") as stream:
            stream.seek(offset, os.SEEK_END)
            stream.write(b"\x07" * 1 if offset == -1 else b"\x07" * (6 << 20) if offset == -size // 2 else b"\x07")
        seen.add(model_folder_hash(tmp_path))
    assert len(seen) == 5


def test_a_folder_without_config_is_no_model(tmp_path):
    with pytest.raises(DataError, match="not a model folder"):
        model_folder_hash(tmp_path)
