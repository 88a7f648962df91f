from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from huggingface_hub import constants

from light_r1.recipe.read import load_recipe
from light_r1.run.hub import hub_names, hub_problems

RECIPE = """model: {name_or_path: big/model, revision: v1}
data:
  x: {hub: rows/here}
  y: {mix: [{source: x}, {source: z}]}
  z: {path: rows.jsonl}
evaluate:
  benchmarks:
    b: {hub: bench/mark}
stages:
  - {name: one, type: sft, data: y, args: {max_length: 9}}
  - {name: two, type: sft, from: one, data: z, model: {dtype: float32}, args: {max_length: 9}}
  - {name: clean, type: data, data: z, steps: [{tool: dedup}]}
  - {name: scores, type: evaluate, from: two}
"""
ERRORS = {
    "/api/datasets/rows/here": ("GatedRepo", 403),
    "/api/models/big/model/revision/v1": ("RevisionNotFound", 404),
    "/api/datasets/bench/mark": ("RepoNotFound", 401),
}


class Hub(BaseHTTPRequestHandler):
    """Answers as the hub does: 200 with a JSON, or an error with its code in a header."""

    def do_GET(self):
        code, status = ERRORS.get(self.path, ("", 200))
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(json.dumps({"id": "a/b", "siblings": []}).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.delenv("HF_DATASETS_CACHE", raising=False)
    (tmp_path / "own.yaml").write_text(RECIPE)
    return load_recipe(tmp_path / "own.yaml")


@pytest.fixture
def hub(monkeypatch):
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()


def test_only_what_the_stages_take_from_the_hub_is_asked_for(recipe):
    names = {stage.name: [item.name for item in hub_names(recipe, [stage])] for stage in recipe.stages}
    assert names == {"one": ["big/model", "rows/here"], "two": [], "clean": [], "scores": ["bench/mark"]}


def test_each_refusal_of_the_hub_is_told_with_the_place_in_the_recipe(recipe, hub):
    found = [str(problem) for problem in hub_problems(recipe, recipe.stages)]
    for line, text in [
        (1, "model.name_or_path: big/model has no revision v1"),
        (3, "data.x.hub: rows/here is gated"),
        (8, "evaluate.benchmarks.b.hub: there is no bench/mark on the hub, or it is private"),
    ]:
        assert sum(f"own.yaml:{line}: {text}" in problem for problem in found) == 1, found
    assert len(found) == 3


def test_what_is_there_is_no_problem(recipe, hub, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ERRORS", {})
    assert hub_problems(recipe, recipe.stages) == []


def test_without_a_network_the_cache_will_do_and_the_rest_is_told(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    (tmp_path / "hub/models--big--model/snapshots/abc").mkdir(parents=True)
    (tmp_path / "datasets/bench___mark").mkdir(parents=True)
    (problem,) = hub_problems(recipe, recipe.stages)
    assert "rows/here is not in the local cache, and the hub cannot be reached" in str(problem)
    assert "hf download rows/here --repo-type dataset" in str(problem)


def test_offline_mode_is_named(recipe, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert ["HF_HUB_OFFLINE" in str(problem) for problem in hub_problems(recipe, recipe.stages)] == [True] * 3
