from __future__ import annotations

import json
import math

import pytest
import torch
from datasets import Dataset
from transformers import TrainerCallback
from trl.trainer import utils as trl_utils

from light_r1.errors import DataError, StageError
from light_r1.trainers import scoring
from light_r1.trainers.overlength import drop_report
from light_r1.trainers.sft.config import CurriculumSFTConfig
from light_r1.trainers.sft.trainer import CurriculumSFTTrainer
from tests.conftest import make_model


def solved(a: int, b: int) -> dict:
    return {
        "problem": f"{a}+{b}?",
        "solution": f"<think>\n{a}+{b}={a + b}\n</think>\n\nThe answer is \\boxed{{{a + b}}}.",
        "difficulty": a + b,
    }


ROWS = [solved(a, b) for a in range(6) for b in range(6)]


def config(folder, **fields) -> CurriculumSFTConfig:
    defaults = {
        "max_length": 512,
        "per_device_train_batch_size": 4,
        "num_train_epochs": 1,
        "bf16": False,
        "activation_checkpointing": False,
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1,
        "learning_rate": 1e-3,
        "use_cpu": True,
        "disable_tqdm": True,
    }
    return CurriculumSFTConfig(str(folder), **{**defaults, **fields})


def trainer(tokenizer, folder, rows=ROWS, *, model=None, **fields) -> CurriculumSFTTrainer:
    return CurriculumSFTTrainer(
        model or make_model(tokenizer), config(folder, **fields), rows, processing_class=tokenizer
    )


def supervised_text(tokenizer, row) -> str:
    return tokenizer.decode([i for i in row["labels"] if i != -100])


def test_the_thought_the_answer_and_the_end_are_trained_and_the_prompt_is_not(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, [ROWS[7]])
    row = made.train_dataset[0]
    assert supervised_text(tokenizer, row) == "<think>\n1+1=2\n</think>\n\nThe answer is \\boxed{2}.<|im_end|>"
    assert tokenizer.decode(row["input_ids"]).startswith("<|im_start|>")


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "1+1?", "completion": ROWS[7]["solution"]},
        {"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": ROWS[7]["solution"]}]},
        {"instruction": "1+1?", "output": ROWS[7]["solution"]},
    ],
)
def test_every_common_schema_gives_the_same_tokens(tokenizer, tmp_path, row):
    expected = trainer(tokenizer, tmp_path, [ROWS[7]]).train_dataset[0]
    assert trainer(tokenizer, tmp_path, [row]).train_dataset[0]["labels"] == expected["labels"]


def test_overlong_rows_are_dropped_counted_and_never_cut(tokenizer, tmp_path):
    long = {"problem": "long?", "solution": f"<think>{'x' * 900}</think>\\boxed{{1}}", "difficulty": 0}
    made = trainer(tokenizer, tmp_path, [*ROWS, long])
    assert [item["reason"] for item in made.dropped] == ["overlength"]
    assert made.dropped[0]["row"]["problem"] == "long?"
    assert all(row["labels"][-1] == tokenizer.eos_token_id for row in made.train_dataset)


def test_too_many_lost_rows_stop_the_run_with_the_length_that_would_keep_them(tokenizer, tmp_path):
    with pytest.raises(StageError, match=r"(?s)36 of 36 rows would be lost.*max_length=\d+ keeps 95%") as error:
        trainer(tokenizer, tmp_path, max_length=20)
    kept = int(str(error.value).rsplit("max_length=", 1)[1].split()[0])
    assert len(trainer(tokenizer, tmp_path, max_length=kept).train_dataset) == 36


def test_the_end_of_the_thought_can_be_kept(tokenizer, tmp_path):
    row = {"problem": "p?", "solution": f"<think>{'x' * 300}y</think>\\boxed{{1}}"}
    made = trainer(tokenizer, tmp_path, [row], max_length=100, overlength="keep_end_of_thought")
    (only,) = made.train_dataset
    assert len(only["input_ids"]) == 100
    assert supervised_text(tokenizer, only).endswith("xy\n</think>\n\n\\boxed{1}<|im_end|>")
    assert tokenizer.decode(only["input_ids"]).count("p?") == 1


def test_missing_thoughts_are_dropped_kept_or_refused_as_asked(tokenizer, tmp_path):
    bare = {"problem": "1+1?", "solution": "\\boxed{2}", "difficulty": 1}
    assert trainer(tokenizer, tmp_path, [*ROWS, bare]).dropped[0]["reason"] == "no_think"
    kept = trainer(tokenizer, tmp_path, [*ROWS, bare], missing_think="keep")
    assert not kept.dropped
    with pytest.raises(DataError, match=r"row 36.*no_think"):
        trainer(tokenizer, tmp_path, [*ROWS, bare], missing_think="error")


def test_rows_without_a_known_form_name_their_columns(tokenizer, tmp_path):
    with pytest.raises(DataError, match=r"row 0.*qqq"):
        trainer(tokenizer, tmp_path, [{"qqq": "1", "zzz": "2"}])


def batches(made) -> list[list[list[int]]]:
    return [batch["input_ids"].tolist() for batch in made.get_train_dataloader()]


def test_training_sees_the_curriculum(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, order="by_difficulty")
    seen = [int(tokenizer.decode(row).split("boxed{")[1].split("}")[0]) for batch in batches(made) for row in batch]
    assert seen == sorted(row["difficulty"] for row in ROWS)


def test_a_missing_difficulty_is_refused(tokenizer, tmp_path):
    rows = [{key: row[key] for key in ("problem", "solution")} for row in ROWS]
    with pytest.raises(DataError, match="no column 'difficulty' among problem, solution"):
        trainer(tokenizer, tmp_path, rows, order="staged")


def test_packing_keeps_the_curriculum(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, order="by_difficulty", packing=True, max_length=200)
    text = "".join(tokenizer.decode(row) for batch in batches(made) for row in batch)
    answers = [int(part.split("}")[0]) for part in text.split("boxed{")[1:]]
    assert answers == sorted(row["difficulty"] for row in ROWS)


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("form", ["ids", "formatting_func"])
def test_rows_that_come_as_ids_or_text_are_not_cut_either(tokenizer, tmp_path, form, packing):
    texts = ["a" * 30] * 9 + ["b" * 80]
    ids = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]
    rows = [{"input_ids": one, "labels": one} for one in ids] if form == "ids" else [{"t": text} for text in texts]
    made = CurriculumSFTTrainer(
        make_model(tokenizer),
        config(tmp_path, max_length=64, packing=packing),
        rows,
        processing_class=tokenizer,
        formatting_func=None if form == "ids" else lambda row: row["t"],
    )
    assert [item["reason"] for item in made.dropped] == ["overlength"]
    kept = [i for row in made.train_dataset for i in row["input_ids"]]
    assert kept == 9 * ids[0]


def test_packing_needs_a_size_and_whole_rows(tokenizer, tmp_path):
    with pytest.raises(StageError, match="max_length"):
        trainer(tokenizer, tmp_path, packing=True, max_length=None)
    with pytest.raises(StageError, match="packing_strategy: 'wrapped' is refused: the others cut rows"):
        trainer(tokenizer, tmp_path, packing=True, packing_strategy="wrapped")


def test_packed_and_padded_loss_agree(tokenizer, tmp_path):
    def mean_loss(packing: bool) -> float:
        made = trainer(tokenizer, tmp_path, packing=packing, max_length=256)
        total = tokens = 0.0
        made.model.eval()
        for batch in made.get_train_dataloader():
            count = int((batch["labels"][:, 1:] != -100).sum())
            if "position_ids" in batch:  # the first label of each packed row has nothing before it
                count = int(((batch["labels"] != -100) & (batch["position_ids"] != 0)).sum())
            with torch.no_grad():
                loss = made.compute_loss(made.model, dict(batch), num_items_in_batch=torch.tensor(count))
            total += float(loss) * count
            tokens += count
        return total / tokens

    assert mean_loss(True) == pytest.approx(mean_loss(False), abs=1e-5)


def test_auto_packing_needs_a_varlen_kernel(tokenizer, tmp_path):
    assert trainer(tokenizer, tmp_path).args.packing is False


class Rates(TrainerCallback):
    def __init__(self):
        self.seen = []

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        self.seen.append(optimizer.param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("fields", "steps", "span"),
    [
        ({"schedule_epochs": 10, "stop_after_epochs": 1}, 9, 90),
        ({"schedule_epochs": 10, "stop_after_epochs": 0.5}, 5, 90),
        ({"schedule_epochs": 10, "stop_after_epochs": 1, "warmup_steps": 0.05}, 9, 90),
        ({"schedule_epochs": 10, "stop_after_epochs": 1, "gradient_accumulation_steps": 2}, 5, 50),
        ({"schedule_epochs": 10, "max_steps": 4}, 4, 90),
        ({"schedule_epochs": 2, "max_steps": 11, "stop_after_epochs": 7}, 11, 18),
        ({"max_steps": 11}, 11, 11),
        ({"num_train_epochs": 2}, 18, 18),
    ],
    ids=str,
)
def test_the_rate_of_every_step_is_that_of_the_schedule_over_its_epochs(tokenizer, tmp_path, fields, steps, span):
    made = trainer(
        tokenizer, tmp_path, lr_scheduler_type="cosine", learning_rate=1e-3, **{"warmup_steps": 3, **fields}
    )
    warmup = made.args.warmup_steps
    made.add_callback(rates := Rates())
    made.training_step = lambda model, inputs, items: torch.tensor(0.0)  # the rates do not depend on gradients
    made.train()
    rise = math.ceil(warmup * span) if warmup < 1 else warmup
    by_hand = [
        1e-3 * (i / rise if i < rise else 0.5 * (1 + math.cos(math.pi * (i - rise) / (span - rise))))
        for i in range(steps)
    ]
    assert rates.seen == pytest.approx(by_hand)


def test_a_schedule_that_ends_before_training_does_is_refused(tokenizer, tmp_path):
    with pytest.raises(StageError, match="ends at step 9, before the 10 steps"):
        trainer(tokenizer, tmp_path, schedule_epochs=1, max_steps=10).train()


def order_of(made) -> list[int]:
    """Return the rows in the order of an epoch, by what is in them."""
    ids = [row["input_ids"] for row in made.train_dataset]
    batches = [batch for batch in made.get_train_dataloader().batch_sampler]
    assert sorted(index for batch in batches for index in batch) == list(range(len(ids)))
    return [index for batch in batches for index in batch]


def test_rows_may_keep_the_order_in_which_they_come(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, train_sampling_strategy="sequential")
    assert order_of(made) == list(range(len(ROWS)))
    packed = trainer(tokenizer, tmp_path, train_sampling_strategy="sequential", packing=True, max_length=150)
    assert order_of(packed) == list(range(len(packed.train_dataset)))
    joined = [i for row in packed.train_dataset for i in row["input_ids"]]
    assert joined == [i for row in made.train_dataset for i in row["input_ids"]]
    assert 1 < len(packed.train_dataset) < len(ROWS)


def test_the_seed_of_the_data_orders_it(tokenizer, tmp_path):
    usual, other = order_of(trainer(tokenizer, tmp_path)), order_of(trainer(tokenizer, tmp_path, seed=3))
    assert order_of(trainer(tokenizer, tmp_path, data_seed=3)) == other != usual


@pytest.mark.parametrize("packing", [False, True])
def test_rows_do_not_depend_on_the_processes_that_prepare_them(tokenizer, tmp_path, packing):
    alone, shared = (
        trainer(tokenizer, tmp_path, packing=packing, dataset_num_proc=number).train_dataset for number in (None, 2)
    )
    assert alone.to_list() == shared.to_list()


def test_the_text_of_a_row_is_the_column_that_is_named(tokenizer, tmp_path):
    rows = [{"body": "1+1=2", "text": "other"}]
    made = trainer(tokenizer, tmp_path, rows, dataset_text_field="body")
    assert supervised_text(tokenizer, made.train_dataset[0]) == "1+1=2<|im_end|>"
    formatted = CurriculumSFTTrainer(
        make_model(tokenizer),
        config(tmp_path, dataset_text_field="body"),
        [{"t": "1+1=2"}],
        processing_class=tokenizer,
        formatting_func=lambda row: row["t"],
    )
    assert formatted.train_dataset[0]["input_ids"] == made.train_dataset[0]["input_ids"]


@pytest.mark.parametrize("fields", [{}, {"overlength": "keep_end_of_thought", "max_length": 60}], ids=str)
def test_the_prompt_is_trained_where_the_loss_is_not_of_completions_only(tokenizer, tmp_path, fields):
    rows = [{**ROWS[7], "solution": f"<think>\n{'1' * 90}\n</think>\n\n\\boxed{{2}}"}] if fields else ROWS[:3]
    usual = trainer(tokenizer, tmp_path, rows, **fields)
    made = trainer(tokenizer, tmp_path, rows, completion_only_loss=False, **fields)
    for expected, row in zip(usual.train_dataset, made.train_dataset, strict=True):
        assert row["labels"] == row["input_ids"] == expected["input_ids"] != expected["labels"]


def test_rows_that_are_ready_are_taken_as_they_are(tokenizer, tmp_path):
    rendered = trainer(tokenizer, tmp_path).train_dataset
    rows = rendered.select_columns(["input_ids", "labels"]).to_list()
    made = trainer(tokenizer, tmp_path, Dataset.from_list(rows), dataset_kwargs={"skip_prepare_dataset": True})
    assert made.train_dataset.to_list() == rows
    assert made.train().global_step == 9


def test_evaluation_may_be_packed_where_training_is(tokenizer, tmp_path):
    def loss(**fields):
        args = config(tmp_path, per_device_eval_batch_size=36, **fields)
        made = CurriculumSFTTrainer(make_model(tokenizer), args, ROWS, ROWS, processing_class=tokenizer)
        return made.evaluate()["eval_loss"], len(made.eval_dataset)

    alone, rows = loss(packing=True, eval_packing=False)
    packed, fewer = loss(packing=True)
    assert packed == pytest.approx(alone, abs=1e-5)
    assert fewer < rows == len(ROWS)


@pytest.mark.parametrize(
    ("key", "kwargs"),
    [
        ("activation_checkpointing_kwargs", {"every_n_layers": 2}),
        ("gradient_checkpointing_kwargs", {"selective": True}),
    ],
)
def test_checkpointing_takes_what_trl_takes_and_changes_no_step(tokenizer, tmp_path, key, kwargs):
    plain = trainer(tokenizer, tmp_path, ROWS[:8], max_steps=2)
    plain.train()
    made = trainer(tokenizer, tmp_path, ROWS[:8], max_steps=2, activation_checkpointing=True, **{key: dict(kwargs)})
    made.train()
    for name, value in weights(plain.model).items():
        assert torch.allclose(weights(made.model)[name], value, atol=1e-5), name


def test_training_learns(tokenizer, tmp_path):
    made = trainer(tokenizer, tmp_path, num_train_epochs=6, learning_rate=3e-3)
    made.train()
    losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert losses[-1] < 0.7 * losses[0]


def weights(model) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("stop", [4, 9], ids=["inside an epoch", "at the end of an epoch"])
def test_resume_is_bit_exact(tokenizer, tmp_path, stop):
    fields = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": stop, "order": "staged"}
    whole = trainer(tokenizer, tmp_path / "whole", **fields)
    whole.train()
    again = trainer(tokenizer, tmp_path / "again", model=make_model(tokenizer, seed=9), **fields)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{stop}"))
    expected, found = weights(whole.model), weights(again.model)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_drop_report_shows_the_lengths():
    text = drop_report("train", {"overlength": 3}, [10, 20, 30, 500], 100)
    assert "3 of 4 rows" in text
    assert "257 to      512:        1" in text


def test_drop_report_counts_only_rows_that_have_a_length():
    text = drop_report("train", {"overlength": 1, "no_think": 300}, [0] * 300 + list(range(1, 101)), 99)
    assert "max_length=96 keeps 95% of the rows\n  max_length=100 keeps 99%" in text
    assert "missing_think='keep'" in text
    assert "max_length" not in drop_report("train", {"unclosed_think": 5}, [0] * 5, 99)


def test_config_fields_survive_json(tmp_path):
    fields = json.loads(config(tmp_path, schedule_epochs=100, stop_after_epochs=4).to_json_string())
    assert fields["num_train_epochs"] == 4
    assert fields["schedule_epochs"] == 100


@pytest.mark.parametrize("packing", [{}, {"packing": True}, {"packing": True, "order": "by_difficulty"}], ids=str)
def test_loss_is_logged_by_difficulty(tokenizer, tmp_path, packing):
    rows = [{**row, "difficulty": row["difficulty"] % 3} for row in ROWS]
    made = trainer(tokenizer, tmp_path, rows, per_device_train_batch_size=36, max_steps=1, **packing)
    model = make_model(tokenizer)
    made.train()
    logs = next(entry for entry in made.state.log_history if "loss" in entry)
    for level in range(3):
        total = count = right = 0.0
        for row in rows:
            if row["difficulty"] != level:
                continue
            rendered = made.chat.render(row["problem"], row["solution"])
            ids, labels = torch.tensor([rendered.input_ids]), torch.tensor(rendered.labels)
            logps = torch.log_softmax(model(ids).logits[0, :-1], -1)
            kept = labels[1:] != -100
            total -= float(logps[torch.arange(len(kept)), ids[0, 1:]][kept].sum().detach())
            right += float((logps.argmax(-1) == ids[0, 1:])[kept].sum())
            count += int(kept.sum())
        assert logs[f"difficulty/{level}/loss"] == pytest.approx(total / count, rel=1e-4)
        assert logs[f"difficulty/{level}/accuracy"] == pytest.approx(right / count, rel=1e-4)


def test_rows_of_like_length_share_a_batch_only_if_asked(tokenizer, tmp_path):
    rows = [{**row, "problem": row["problem"] * (1 + i % 9)} for i, row in enumerate(ROWS)]

    def padding(**fields):
        made = trainer(tokenizer, tmp_path, rows, **fields)
        return sum(batch["input_ids"].numel() for batch in made.get_train_dataloader())

    assert padding() < padding(batch_by_length=False)


def test_on_cpu_the_head_scores_supervised_tokens_alone_and_the_steps_are_the_same(tokenizer, tmp_path, monkeypatch):
    widths = []
    usual = trl_utils._ChunkedLogProbFunction

    class Spy:
        @staticmethod
        def apply(hidden, *args):
            widths.append(hidden.size(0))
            return usual.apply(hidden, *args)

    monkeypatch.setattr(trl_utils, "_ChunkedLogProbFunction", Spy)
    histories, heads, supervised = [], [], []
    for shares in (True, False):
        if not shares:
            monkeypatch.setattr(scoring, "why_padded", lambda model: "for comparison")
        rows = [{**row, "difficulty": index % 2} for index, row in enumerate(ROWS)]
        args = config(tmp_path, max_steps=3, logging_steps=1)
        made = CurriculumSFTTrainer(make_model(tokenizer), args, rows, processing_class=tokenizer)
        loss = made.compute_loss

        def counted(model, inputs, *args, loss=loss, **kwargs):
            supervised.append(int((inputs["labels"] >= 0).sum()))
            return loss(model, inputs, *args, **kwargs)

        made.compute_loss = counted
        made.train()
        histories.append(made.state.log_history[:3])
        heads.append(list(widths))
        widths.clear()
    assert heads[0] == supervised[:3]
    assert sum(heads[0]) < sum(heads[1])
    for key in ("loss", "grad_norm", "entropy", "mean_token_accuracy", "difficulty/0/loss", "difficulty/1/accuracy"):
        ours, trls = ([event[key] for event in history] for history in histories)
        assert ours == pytest.approx(trls, rel=1e-4, abs=1e-6), key
