import pytest
import torch

from light_r1.models.checkpoints import (
    folder_bytes,
    last_checkpoint,
    list_checkpoints,
    prune_checkpoints,
    set_torn_aside,
    why_torn,
)
from tests.light_r1.run_folders import write_checkpoint


def cut(file, share=0.5):
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def test_last_is_by_number_not_by_text(tmp_path):
    for step in (9, 100, 20):
        write_checkpoint(tmp_path, step)
    (tmp_path / "checkpoint-x").mkdir()
    assert [path.name for path in list_checkpoints(tmp_path)] == [
        "checkpoint-9",
        "checkpoint-20",
        "checkpoint-100",
    ]
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-100"
    assert last_checkpoint(tmp_path / "none") is None


@pytest.mark.parametrize("ranks", [1, 2])
def test_whole_checkpoint_is_whole(tmp_path, ranks):
    assert why_torn(write_checkpoint(tmp_path, 5, ranks=ranks)) == ""


TEARS = {
    "no state": (lambda path: (path / "trainer_state.json").unlink(), "trainer_state.json is missing"),
    "state cut": (lambda path: cut(path / "trainer_state.json"), "trainer_state.json is not readable"),
    "state of another step": (
        lambda path: (path / "trainer_state.json").write_text('{"global_step": 4}'),
        "says step 4",
    ),
    "no model": (lambda path: (path / "model.safetensors").unlink(), "no model files"),
    "model cut in its data": (
        lambda path: cut(path / "model.safetensors", 0.9),
        "model.safetensors is cut short",
    ),
    "model cut in its header": (lambda path: cut(path / "model.safetensors", 0.05), "cut short"),
    "model empty": (lambda path: cut(path / "model.safetensors", 0), "cut short"),
    "no optimizer": (lambda path: (path / "optimizer.pt").unlink(), "no optimizer files"),
    "optimizer cut": (lambda path: cut(path / "optimizer.pt"), "optimizer.pt is cut short"),
    "optimizer empty": (lambda path: cut(path / "optimizer.pt", 0), "optimizer.pt is cut short"),
    "no random state": (lambda path: (path / "rng_state.pth").unlink(), "rng_state.pth missing"),
    "config empty": (lambda path: cut(path / "config.json", 0), "config.json is empty"),
    "marked": (lambda path: (path / "checkpoint-is-incomplete.txt").write_text(""), "its own marker"),
    "shard missing": (
        lambda path: (path / "model.safetensors.index.json").write_text(
            '{"weight_map": {"w": "model-2.safetensors"}}'
        ),
        "model-2.safetensors missing",
    ),
    "index cut": (
        lambda path: (path / "model.safetensors.index.json").write_text("{"),
        "index.json is not readable",
    ),
}


@pytest.mark.parametrize("tear", sorted(TEARS))
def test_torn_checkpoint_is_named_passed_over_and_set_aside(tmp_path, caplog, tear):
    damage, reason = TEARS[tear]
    whole = write_checkpoint(tmp_path, 10)
    torn = write_checkpoint(tmp_path, 20)
    damage(torn)
    assert reason in why_torn(torn)
    assert last_checkpoint(tmp_path) == whole
    assert set_torn_aside(tmp_path) == [tmp_path / "torn-checkpoint-20"]
    assert reason in caplog.text
    assert list_checkpoints(tmp_path) == [whole]


def test_torn_twice_at_one_step_keeps_the_later(tmp_path):
    for _ in range(2):
        (write_checkpoint(tmp_path, 20) / "trainer_state.json").unlink()
        set_torn_aside(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["torn-checkpoint-20"]


def test_rank_without_its_random_state_is_torn(tmp_path):
    checkpoint = write_checkpoint(tmp_path, 5, ranks=3)
    (checkpoint / "rng_state_1.pth").unlink()
    assert why_torn(checkpoint) == "rng_state_1.pth missing"


def test_sharded_deepspeed_checkpoint_needs_the_folder_it_calls_latest(tmp_path):
    checkpoint = write_checkpoint(tmp_path, 5)
    for name in ("optimizer.pt", "model.safetensors"):
        (checkpoint / name).unlink()
    (checkpoint / "latest").write_text("global_step5")
    assert "no optimizer states" in why_torn(checkpoint)
    (checkpoint / "global_step5").mkdir()
    torch.save({}, checkpoint / "global_step5" / "zero_pp_rank_0_mp_rank_00_optim_states.pt")
    assert why_torn(checkpoint) == ""
    prune_checkpoints(tmp_path)
    assert (checkpoint / "global_step5").exists(), "its weights are nowhere else"


@pytest.mark.parametrize(("best", "kept"), [(None, {30}), (30, {30}), (10, {10, 30}), (99, {30})])
def test_pruning_keeps_the_weights_of_best_and_last_only(tmp_path, best, kept):
    for step in (10, 20, 30):
        write_checkpoint(tmp_path, step, best=best)
    (tmp_path / "torn-checkpoint-5").mkdir()
    (tmp_path / "torn-checkpoint-5" / "w").write_bytes(b"123")
    before = folder_bytes(tmp_path)
    freed = prune_checkpoints(tmp_path)
    assert freed == before - folder_bytes(tmp_path) > 0
    assert {path.name for path in tmp_path.iterdir()} == {f"checkpoint-{step}" for step in kept}
    for step in kept:
        left = {path.name for path in (tmp_path / f"checkpoint-{step}").iterdir()}
        assert left == {"model.safetensors", "config.json", "trainer_state.json"}


def test_pruning_twice_or_nothing_frees_nothing(tmp_path):
    assert prune_checkpoints(tmp_path / "none") == 0
    write_checkpoint(tmp_path, 10)
    prune_checkpoints(tmp_path)
    assert prune_checkpoints(tmp_path) == 0
