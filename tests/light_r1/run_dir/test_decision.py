import copy

import pytest

from light_r1.batch import Batch
from light_r1.errors import RunDirError
from light_r1.run_dir.decision import changed_settings, decide
from light_r1.run_dir.fingerprint import stage_fingerprint
from light_r1.run_dir.folder import RunDir, now
from light_r1.run_dir.manifest import Manifest, describe_outputs
from tests.light_r1.run_folders import write_checkpoint

RECIPE = {
    "sft-stage1": {"args": {"learning_rate": 5e-5, "logging_steps": 10}},
    "sft-stage2": {"args": {"learning_rate": 1e-5}, "from": "sft-stage1"},
    "dpo": {"args": {"beta": 0.3, "loss_type": "nca_pair"}, "from": "sft-stage2"},
}


class Killed(Exception):
    pass


def walk(root, recipe, *, kill_in=None):
    """Run a recipe the way the runner does, with stages that only write a file."""
    run, fingerprints, actions = RunDir(root), {}, {}
    for name, block in recipe.items():
        inputs = {block["from"]: fingerprints[block["from"]]} if "from" in block else {}
        resolved = {"type": "sft", "args": block["args"], "inputs": inputs}
        stage = run.stage(name)
        decision = decide(stage, resolved)
        fingerprints[name], actions[name] = decision.fingerprint, decision
        if decision.action == "skip":
            continue
        if decision.action == "rerun":
            stage.supersede()
        assert stage.begin(resolved) == decision.fingerprint
        if name == kill_in:
            raise Killed
        (stage.output / "model").write_text(name)
        done = Manifest(
            stage=name,
            type="sft",
            fingerprint=decision.fingerprint,
            started=now(),
            ended=now(),
            seconds=0.0,
            steps=3912,
            outputs=describe_outputs(stage.path),
        )
        stage.write_manifest(done)
    return actions


def edited(dotted, value):
    recipe = copy.deepcopy(RECIPE)
    stage, _, key = dotted.partition(".args.")
    recipe[stage]["args"][key] = value
    return recipe


def actions(decisions):
    return [decision.action for decision in decisions.values()]


def test_first_all_run_then_all_skip(tmp_path):
    assert actions(walk(tmp_path, RECIPE)) == ["run", "run", "run"]
    second = walk(tmp_path, RECIPE)
    assert actions(second) == ["skip", "skip", "skip"]
    assert second["dpo"].reason.startswith("same recipe and data as 20")
    assert second["dpo"].reason.endswith("(3,912 steps)")


def test_kill_in_stage_two_then_skip_resume_run(tmp_path):
    with pytest.raises(Killed):
        walk(tmp_path, RECIPE, kill_in="sft-stage2")
    assert actions(walk(tmp_path, RECIPE)) == ["skip", "resume", "run"]
    assert actions(walk(tmp_path, RECIPE)) == ["skip", "skip", "skip"]


def test_changed_dpo_beta_reruns_dpo_only_and_names_it(tmp_path):
    walk(tmp_path, RECIPE)
    after = walk(tmp_path, edited("dpo.args.beta", 0.1))
    assert actions(after) == ["skip", "skip", "rerun"]
    assert after["dpo"].reason == "changed: dpo.args.beta: 0.3 -> 0.1"
    assert after["dpo"].changed == ("dpo.args.beta: 0.3 -> 0.1",)
    assert len(list(tmp_path.glob("dpo.superseded-*/manifest.json"))) == 1


def test_changed_first_stage_reruns_all_that_follow(tmp_path):
    walk(tmp_path, RECIPE)
    after = walk(tmp_path, edited("sft-stage1.args.learning_rate", 1e-4))
    assert actions(after) == ["rerun", "rerun", "rerun"]
    assert after["sft-stage2"].reason.startswith("changed: sft-stage2.inputs.sft-stage1: ")


def test_inert_change_skips_all_and_is_still_listed(tmp_path):
    walk(tmp_path, RECIPE)
    after = walk(tmp_path, edited("sft-stage1.args.logging_steps", 1))
    assert actions(after) == ["skip", "skip", "skip"]
    assert after["sft-stage1"].changed == ("sft-stage1.args.logging_steps: 10 -> 1",)


def test_cut_off_stage_with_other_settings_is_rerun_not_resumed(tmp_path):
    with pytest.raises(Killed):
        walk(tmp_path, RECIPE, kill_in="dpo")
    write_checkpoint(tmp_path / "dpo" / "checkpoints", 5)
    after = walk(tmp_path, edited("dpo.args.beta", 0.1))
    assert after["dpo"].action == "rerun"
    assert after["dpo"].checkpoint is None
    assert not list((tmp_path / "dpo").glob("checkpoints/*")), "a checkpoint of another config could be picked"


def test_rerun_of_a_rerun_back_to_the_old_settings(tmp_path):
    first = walk(tmp_path, RECIPE)
    walk(tmp_path, edited("dpo.args.beta", 0.1))
    back = walk(tmp_path, RECIPE)
    assert actions(back) == ["skip", "skip", "rerun"]
    assert back["dpo"].fingerprint == first["dpo"].fingerprint


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda file: file.unlink(), "sft-stage2/output/model is missing"),
        (lambda file: file.write_text("x"), "has 1 bytes, 10 when the stage ended"),
    ],
)
def test_done_stage_whose_output_is_gone_is_not_skipped(tmp_path, damage, reason):
    walk(tmp_path, RECIPE)
    damage(tmp_path / "sft-stage2" / "output" / "model")
    after = walk(tmp_path, RECIPE)
    assert actions(after) == ["skip", "rerun", "skip"]
    assert reason in after["sft-stage2"].reason


def test_resume_goes_on_from_the_last_whole_checkpoint_and_deciding_changes_nothing(tmp_path):
    stage = RunDir(tmp_path).stage("sft")
    stage.begin({"args": {}})
    assert decide(stage, {"args": {}}).checkpoint is None
    whole = write_checkpoint(stage.checkpoints, 10)
    torn = write_checkpoint(stage.checkpoints, 20)
    (torn / "optimizer.pt").unlink()
    decision = decide(stage, {"args": {}})
    assert (decision.action, decision.checkpoint) == ("resume", whole)
    assert decision.reason == "cut off, goes on from step 10"
    assert torn.exists()


def test_folder_without_stage_json_is_rerun_and_an_empty_one_runs(tmp_path):
    stage = RunDir(tmp_path).stage("sft")
    stage.path.mkdir()
    assert decide(stage, {}).action == "run"
    (stage.path / "something").write_text("")
    assert decide(stage, {}).action == "rerun"


def training(processes, per_device, accumulation):
    args = {
        "per_device_train_batch_size": per_device,
        "gradient_accumulation_steps": accumulation,
        "lr": 1e-5,
    }
    return {"type": "sft", "args": args}, Batch(processes, per_device, accumulation)


@pytest.mark.parametrize("done", [True, False])
def test_same_effective_batch_in_another_split_is_the_same_stage(tmp_path, done):
    stage = RunDir(tmp_path).stage("sft")
    resolved, batch = training(8, 1, 2)
    fp = stage.begin(resolved, batch=batch)
    write_checkpoint(stage.checkpoints, 10, ranks=8)
    if done:
        times = {"started": now(), "ended": now(), "seconds": 1.0}
        stage.write_manifest(Manifest(stage="sft", type="sft", fingerprint=fp, **times))
    other, other_batch = training(4, 1, 4)
    decision = decide(stage, other, batch=other_batch)
    assert decision.action == ("skip" if done else "resume")
    assert decision.fingerprint == fp != stage_fingerprint(other)


def test_resume_with_another_effective_batch_is_refused_with_the_numbers(tmp_path):
    stage = RunDir(tmp_path).stage("sft")
    resolved, batch = training(8, 1, 2)
    stage.begin(resolved, batch=batch)
    half = Batch(4, 1, 2)
    assert decide(stage, resolved, batch=half).action == "resume", "nothing is trained yet"
    write_checkpoint(stage.checkpoints, 10)
    with pytest.raises(RunDirError, match=r"batch of 16 = 8 processes x 1 .* with 8 = 4 processes x 1") as caught:
        decide(stage, resolved, batch=half)
    assert "Set global_batch_size: 16 in place of gradient_accumulation_steps" in str(caught.value)
    assert decide(stage, resolved).action == "resume", "a plan on another machine compares no sizes"


def test_other_batch_in_the_recipe_is_a_rerun(tmp_path):
    stage = RunDir(tmp_path).stage("sft")
    resolved, batch = training(8, 1, 2)
    stage.begin(resolved, batch=batch)
    write_checkpoint(stage.checkpoints, 10)
    other, other_batch = training(8, 2, 2)
    decision = decide(stage, other, batch=other_batch)
    assert decision.action == "rerun"
    assert decision.reason == "changed: sft.args.per_device_train_batch_size: 1 -> 2"
    changed_besides = {**training(4, 1, 4)[0], "seed": 1}
    assert decide(stage, changed_besides, batch=Batch(4, 1, 4)).action == "rerun"


def of_size(size, per_device, **args):
    return {"type": "sft", "args": {"global_batch_size": size, "per_device_train_batch_size": per_device, **args}}


@pytest.mark.parametrize("done", [True, False])
@pytest.mark.parametrize("split", [(4, 1, 24), (4, 8, 3), (96, 1, 1), (1, 1, 96), (8, 1, 12)])
def test_a_global_batch_size_is_the_same_stage_on_any_hardware(tmp_path, done, split):
    stage = RunDir(tmp_path).stage("sft")
    fp = stage.begin(of_size(96, 1), batch=Batch(8, 1, 12))
    write_checkpoint(stage.checkpoints, 10, ranks=8)
    if done:
        times = {"started": now(), "ended": now(), "seconds": 1.0}
        stage.write_manifest(Manifest(stage="sft", type="sft", fingerprint=fp, **times))
    decision = decide(stage, of_size(96, split[1]), batch=Batch(*split))
    assert (decision.action, decision.fingerprint) == ("skip" if done else "resume", fp)
    assert stage_fingerprint(of_size(96, split[1])) == fp, "what follows must be the same stage too"
    if not done:
        assert ("now split as 96 = " in decision.reason) == (split != (8, 1, 12))


def test_another_global_batch_size_is_another_stage(tmp_path):
    stage = RunDir(tmp_path).stage("sft")
    stage.begin(of_size(96, 1), batch=Batch(8, 1, 12))
    write_checkpoint(stage.checkpoints, 10)
    decision = decide(stage, of_size(32, 1), batch=Batch(8, 1, 4))
    assert (decision.action, decision.reason) == ("rerun", "changed: sft.args.global_batch_size: 96 -> 32")
    assert decide(stage, of_size(96, 1, lr=1), batch=Batch(8, 1, 12)).action == "rerun"


def test_a_batch_said_by_its_size_is_the_one_that_was_said_by_its_accumulation(tmp_path):
    stage = RunDir(tmp_path).stage("sft")
    resolved, batch = training(8, 1, 12)
    stage.begin(resolved, batch=batch)
    write_checkpoint(stage.checkpoints, 10)
    same = of_size(96, 1, lr=1e-5)
    assert decide(stage, same, batch=Batch(8, 1, 12)).action == "resume"
    assert decide(stage, of_size(32, 1, lr=1e-5), batch=Batch(8, 1, 4)).action == "rerun"


def test_changes_are_told_by_dotted_key_old_and_new():
    before = {
        "args": {"lr": 1, "same": [1, 2], "gone": "x"},
        "steps": [{"tool": "dedup"}, {"tool": "sample", "n": 8}],
    }
    after = {
        "args": {"lr": 1.0, "same": (1, 2), "new": "y" * 100},
        "steps": [{"tool": "dedup"}, {"tool": "sample"}],
    }
    assert changed_settings("dpo", before, after) == [
        'dpo.args.gone: "x" -> (not set)',
        "dpo.args.lr: 1 -> 1.0",
        f'dpo.args.new: (not set) -> "{"y" * 56}...',
        "dpo.steps[1].n: 8 -> (not set)",
    ]
