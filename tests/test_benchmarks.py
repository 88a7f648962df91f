"""The benchmarks that cannot run here rehearse here, and the others write what the result tables read."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import gpu, measure, sections


def test_gains_are_taken_round_by_round(tmp_path):
    ratio = measure.Comparison("a", "tokens/s", [10.0, 20.0, 30.0], [20.0, 60.0, 30.0], "more", 1e-6)
    assert ratio.gains() == [1.0, 2.0, 3.0]
    assert "| 2.00 (1.00 to 3.00, n=3) | 1.0e-06 |" in ratio.line()
    extra = measure.Comparison("b", "ms/step", [4.0, 5.0], [4.5, 4.0], "less", 0.0)
    assert extra.gains() == [-1.0, 0.5]
    measure.write("x", [ratio], tmp_path / "results")
    path = measure.write("x", [extra], tmp_path / "results")
    found = json.loads(path.read_text())["comparisons"]
    assert found["a"]["gain"] == {"median": 2.0, "least": 1.0, "most": 3.0, "n": 3}
    assert found["b"]["ours"] == [4.5, 4.0] and found["b"]["machine"]["threads"] >= 1
    table = (tmp_path / "RESULTS.md").read_text()
    assert table.count("## x\n") == 1 and ratio.line() in table and extra.line() in table


def test_a_section_that_is_measured_again_replaces_its_old_text(tmp_path):
    path = tmp_path / "RESULTS.md"
    for name, text in [("verify", "old"), ("dedup", "stays"), ("verify", "new")]:
        sections.write_section(name, text, path)
    found = path.read_text()
    assert found.count("## ") == 2 and "old" not in found
    assert found.index("new") < found.index("stays")


def test_sides_alternate_and_the_first_round_does_not_count():
    calls = []
    theirs, ours = measure.alternate(lambda is_ours, round_: (calls.append(is_ours), 10 * round_ + is_ours)[1], 2)
    assert (theirs, ours) == ([10, 20], [11, 21])
    assert calls == [True, False, False, True, True, False]


def test_the_gpu_benchmark_rehearses_on_a_cpu(tmp_path, capsys):
    out = tmp_path / "gpu.json"
    gpu.main(["--tiny", "--tokens", "64", "--rows", "4", "--longest", "96", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["tiny"] is True
    measured = {(record["what"], record["side"]) for record in found["records"]}
    assert measured >= {("sft", "TRL, padded"), ("sft", "light_r1"), ("dpo", "TRL"), ("dpo", "light_r1")}
    for record in found["records"]:
        if record["what"] == "longest dpo":
            assert 64 <= record["context"] <= 96
        else:
            assert record["tokens_per_s"] > 0 and record["mfu"] is None
    work = {record["tokens"] for record in found["records"] if record["what"] == "dpo"}
    assert len(work) == 1, "the sides do unequal work"


def test_the_longest_context_is_found_to_an_eighth(tmp_path, monkeypatch):
    options = {"tiny": True, "peak_tflops": None, "rows": 4}
    bench = gpu.Bench(type("Options", (), options))
    limits = {False: 1000, True: 3300}

    def train(bench, ours, part, tokens):
        if tokens > limits[ours]:
            raise torch.OutOfMemoryError

    monkeypatch.setattr(gpu, "train_pairs", train)
    found = {record["side"]: record["context"] for record in gpu.longest_dpo(bench, 64, 5000)}
    assert 7 / 8 * 1000 <= found["TRL"] <= 1000
    assert 7 / 8 * 3300 <= found["light_r1"] <= 3300


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so(capsys):
    with pytest.raises(SystemExit):
        gpu.main([])
    assert "needs a CUDA GPU" in capsys.readouterr().err
