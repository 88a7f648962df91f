"""The trainers in a script of one's own: what TRL takes without a word and what the saved model then does."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from accelerate import PartialState
from accelerate.utils.deepspeed import HfDeepSpeedConfig
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import AutoTokenizer, GenerationConfig
from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig
from trl import SFTConfig

from data_tools.rows.row import Dropped
from light_r1 import CurriculumSFTTrainer, SemiOnPolicyDPOTrainer, StagedGRPOTrainer
from light_r1.errors import DataError, StageError
from light_r1.models.chat import ChatFormat
from light_r1.models.load import load_model, save_model
from light_r1.trainers.building import prepared
from tests.conftest import character_tokenizer, make_model
from tests.light_r1.trainers.dpo import test_trainer as test_dpo_trainer
from tests.light_r1.trainers.grpo import test_trainer as test_grpo_trainer
from tests.light_r1.trainers.sft import test_trainer as test_sft_trainer


def grpo(model, args=None, rows=(), held_out=None, **kwargs):
    return StagedGRPOTrainer(model, [test_grpo_trainer.length_reward], args, rows, eval_dataset=held_out, **kwargs)


KINDS = {
    "sft": (CurriculumSFTTrainer, test_sft_trainer),
    "dpo": (SemiOnPolicyDPOTrainer, test_dpo_trainer),
    "grpo": (grpo, test_grpo_trainer),
}
# The line of DeepSeek-R1-Distill's template that throws the reasoning away.
FORGETFUL = "{% for m in messages %}{{ m['content'].split('</think>')[-1] }}{% endfor %}"


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


SUPERVISED = pytest.mark.parametrize("kind", ["sft", "dpo"], indirect=True)


def made(kind, folder, tokenizer, *, model=None, rows=None, chat=None, **fields):
    trainer, tests = kind
    return trainer(
        model or make_model(tokenizer),
        tests.config(folder, **fields),
        tests.ROWS if rows is None else rows,
        processing_class=tokenizer,
        chat=chat,
    )


@SUPERVISED
def test_a_template_that_drops_the_thought_drops_nothing_here(kind, tmp_path):
    tokenizer = character_tokenizer("deepseek_r1", think_special=True)
    tokenizer.chat_template = FORGETFUL
    lost = tokenizer.apply_chat_template([{"role": "assistant", "content": "<think>a</think>b"}], tokenize=False)
    assert lost == "b"
    row = made(kind, tmp_path, tokenizer).train_dataset[5]
    ids = row["labels"] if "labels" in row else row["chosen_ids"]
    text = tokenizer.decode([i for i in ids if i >= 0])
    assert "</think>" in text.removeprefix("<think>\n") and not text.startswith("</think>")
    assert text.endswith("<｜end▁of▁sentence｜>")


def test_the_saved_model_prompts_and_stops_as_it_was_trained(kind, tmp_path):
    tokenizer = character_tokenizer("chatml", think_special=True)
    tokenizer.chat_template = "{% for m in messages %}another template{% endfor %}"
    tokenizer.eos_token = "<|endoftext|>"  # as in a base model: not what ends a turn
    model = make_model(tokenizer)
    model.generation_config = GenerationConfig(eos_token_id=tokenizer.eos_token_id)
    trainer = made(kind, tmp_path / "out", tokenizer, model=model, max_steps=1)
    trainer.train()
    trainer.save_model(str(tmp_path / "model"))
    again = AutoTokenizer.from_pretrained(tmp_path / "model")
    messages = [{"role": "user", "content": "1+1?"}]
    text = again.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert text == ChatFormat(tokenizer).prompt_text("1+1?")
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert load_model(tmp_path / "model").generation_config.eos_token_id == [end, tokenizer.eos_token_id]


def test_the_path_of_an_adapter_is_refused(kind, tokenizer, tmp_path):
    save_model(make_model(tokenizer), tokenizer, tmp_path / "base")
    base = load_model(tmp_path / "base", dtype="float32")
    get_peft_model(base, LoraConfig(r=2, task_type="CAUSAL_LM")).save_pretrained(tmp_path / "adapter")
    with pytest.raises(StageError, match="holds a LoRA adapter"):
        made(kind, tmp_path, tokenizer, model=str(tmp_path / "adapter"))


def test_an_adapter_that_would_untie_the_embeddings_is_refused(kind, tokenizer, tmp_path):
    trainer, tests = kind

    def with_adapter(**fields):
        adapter = LoraConfig(r=2, task_type="CAUSAL_LM", modules_to_save=["embed_tokens"], **fields)
        model = make_model(tokenizer)
        return trainer(model, tests.config(tmp_path), tests.ROWS, processing_class=tokenizer, peft_config=adapter)

    with pytest.raises(StageError, match="merging would untie"):
        with_adapter()
    merged = with_adapter(ensure_weight_tying=True).model.merge_and_unload()
    assert merged.lm_head.weight.data_ptr() == merged.get_input_embeddings().weight.data_ptr()


def test_one_model_can_be_trained_again(kind, tokenizer, tmp_path):
    model, fresh = make_model(tokenizer), make_model(tokenizer)
    made(kind, tmp_path / "0", tokenizer, model=model, max_steps=1).train()
    fresh.load_state_dict(model.state_dict())
    losses = []
    for number, one in enumerate((model, fresh)):
        again = made(kind, tmp_path / f"again-{number}", tokenizer, model=one, max_steps=1)
        again.train()
        losses.append(again.state.log_history[0]["loss"])
    assert losses[0] == losses[1]


def test_a_checkpoint_without_its_optimizer_is_not_resumed(kind, tokenizer, tmp_path):
    fields = {"save_strategy": "steps", "save_steps": 1, "save_only_model": True, "max_steps": 2}
    made(kind, tmp_path, tokenizer, **fields).train()
    for resume in (True, str(tmp_path / "checkpoint-1")):
        with pytest.raises(StageError, match="optimizer"):
            made(kind, tmp_path, tokenizer, **fields).train(resume_from_checkpoint=resume)


@pytest.mark.parametrize(
    ("name", "fields"),
    [("sft", {}), ("sft", {"packing": True, "max_length": 200, "order": "by_difficulty"}), ("dpo", {})],
    ids=["sft", "sft packed", "dpo"],
)
def test_resume_is_bit_exact_with_an_adapter_and_packed(tokenizer, tmp_path, name, fields):
    trainer, tests = KINDS[name]

    def run(folder, resume=None):
        args = tests.config(
            tmp_path / folder, **{"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 1, **fields}
        )
        adapter = LoraConfig(r=4, target_modules=["q_proj"], task_type="CAUSAL_LM")
        torch.manual_seed(7)
        made = trainer(make_model(tokenizer), args, tests.ROWS, processing_class=tokenizer, peft_config=adapter)
        made.train(resume_from_checkpoint=resume)
        return made

    whole = run("whole")
    assert whole.state.global_step >= 4
    again = run("again", str(tmp_path / "whole" / "checkpoint-3"))
    expected = dict(whole.model.named_parameters())
    assert any("lora_B" in name and value.any() for name, value in expected.items())
    assert all(torch.equal(value, expected[name]) for name, value in again.model.named_parameters())


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "no rows"),
        ("rows.jsonl", "is a path"),
        (Dataset.from_list([{"text": "a"}]).to_iterable_dataset(), "a stream"),
    ],
    ids=["none", "path", "stream"],
)
def test_rows_that_cannot_be_trained_on_are_named(kind, tokenizer, tmp_path, rows, why):
    with pytest.raises(DataError, match=why):
        made(kind, tmp_path, tokenizer, rows=rows)


def test_a_model_from_nowhere_needs_a_tokenizer_or_a_chat_format(kind, tokenizer, tmp_path):
    trainer, tests = kind
    with pytest.raises(StageError, match="processing_class"):
        trainer(make_model(tokenizer), tests.config(tmp_path), tests.ROWS)
    found = trainer(make_model(tokenizer), tests.config(tmp_path), tests.ROWS, chat=ChatFormat(tokenizer))
    assert found.processing_class is tokenizer


@SUPERVISED
def test_held_out_rows_may_be_a_list_too(kind, tokenizer, tmp_path):
    trainer, tests = kind
    found = trainer(
        make_model(tokenizer), tests.config(tmp_path), tests.ROWS, list(tests.ROWS[:4]), processing_class=tokenizer
    )
    assert found.evaluate()["eval_loss"] > 0


def test_a_list_of_held_out_rows_may_have_a_name_each(tokenizer, tmp_path):
    args = test_sft_trainer.config(tmp_path)
    rows = test_sft_trainer.ROWS
    found = CurriculumSFTTrainer(
        make_model(tokenizer), args, rows, {"easy": rows[:4], "hard": rows[-4:]}, processing_class=tokenizer
    )
    assert {"eval_easy_loss", "eval_hard_loss"} <= found.evaluate().keys()


def test_what_was_dropped_before_is_counted_and_not_trained_on(kind, tokenizer, tmp_path):
    rows = [*kind[1].ROWS, Dropped({"problem": "x?"}, "no_wrong_sample")]
    trainer = made(kind, tmp_path, tokenizer, rows=rows)
    assert trainer.dropped == [{"row": {"problem": "x?"}, "reason": "no_wrong_sample"}]
    assert len(trainer.train_dataset) == len(kind[1].ROWS)
    with pytest.raises(DataError, match=r"all were dropped: \{'no_wrong_sample': 1\}"):
        made(kind, tmp_path, tokenizer, rows=rows[-1:])


@pytest.mark.parametrize(
    ("module", "fields", "why"),
    [
        (test_sft_trainer, {"order": "by_dificulty"}, "Did you mean by_difficulty"),
        (test_sft_trainer, {"overlength": "truncate"}, "overlength: 'truncate' is not one of"),
        (test_sft_trainer, {"missing_think": "ignore"}, "missing_think"),
        (test_sft_trainer, {"packing": "yes"}, "packing"),
        (test_sft_trainer, {"curriculum_stages": 0}, "at least 1"),
        (test_sft_trainer, {"schedule_epochs": 2, "stop_after_epochs": 4}, "ends before the 4 epochs"),
        (test_dpo_trainer, {"overlength": "keep_end_of_thought"}, "overlength"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_settings_that_mean_nothing_are_refused(tmp_path, module, fields, why):
    with pytest.raises(StageError, match=why):
        module.config(tmp_path, **fields)


def test_the_config_may_not_be_anothers(kind, tokenizer, tmp_path):
    trainer, tests = kind
    with pytest.raises(StageError, match=r"expected a \w+Config, got SFTConfig"):
        trainer(make_model(tokenizer), SFTConfig(str(tmp_path), bf16=False, use_cpu=True), tests.ROWS)


def test_a_config_that_is_left_out_writes_to_a_folder_named_after_the_model(tokenizer):
    class TinyConfig:
        def __init__(self, output_dir):
            self.output_dir = output_dir

    config, _, _ = prepared("Qwen/Qwen2.5-7B", None, TinyConfig, tokenizer, None)
    assert config.output_dir == "Qwen2.5-7B-Tiny"


MESSAGES = [{"role": "user", "content": "0+0?"}]
ANSWERS = {side: [{"role": "assistant", "content": test_dpo_trainer.ROWS[0][side]}] for side in ("chosen", "rejected")}


@pytest.mark.parametrize(
    "row",
    [
        {**test_dpo_trainer.ROWS[0], "prompt": "0+0?", "problem": None},
        {"prompt": MESSAGES, **ANSWERS},
        {side: MESSAGES + turn for side, turn in ANSWERS.items()},
    ],
    ids=["prompt", "messages", "implicit prompt"],
)
def test_pairs_come_in_every_form_of_trl(tokenizer, tmp_path, row):
    kind = KINDS["dpo"]
    expected = made(kind, tmp_path, tokenizer, rows=[test_dpo_trainer.ROWS[0]]).train_dataset[0]
    assert made(kind, tmp_path, tokenizer, rows=[row]).train_dataset[0] == expected


def test_a_faulty_chosen_response_is_named_with_its_row(tokenizer, tmp_path):
    rows = [test_dpo_trainer.ROWS[0], {**test_dpo_trainer.ROWS[1], "chosen": "<think>\nnever closed"}]
    with pytest.raises(DataError, match=r"row 1, chosen: .*unclosed_think"):
        made(KINDS["dpo"], tmp_path, tokenizer, rows=rows)


@pytest.mark.parametrize(("per_device", "accumulation"), [(8, 1), (4, 2), (2, 4)])
def test_the_accumulation_follows_from_the_batch(kind, tmp_path, tokenizer, per_device, accumulation):
    trainer = made(kind, tmp_path, tokenizer, global_batch_size=8, per_device_train_batch_size=per_device)
    assert trainer.args.gradient_accumulation_steps == accumulation
    assert trainer.get_total_train_batch_size(trainer.args) == 8
    if isinstance(trainer, StagedGRPOTrainer):
        assert (trainer.args.steps_per_generation, trainer.args.generation_batch_size) == (accumulation, 8)


def test_without_a_batch_the_accumulation_is_trls(kind, tmp_path):
    _, tests = kind
    assert tests.config(tmp_path, global_batch_size=None).gradient_accumulation_steps == 1
    assert tests.config(tmp_path, gradient_accumulation_steps=3).gradient_accumulation_steps == 3


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"global_batch_size": 12}, "12 is no multiple of 8 = per_device_train_batch_size 8 x 1 process"),
        ({"global_batch_size": 16, "gradient_accumulation_steps": 1}, "beside global_batch_size 16"),
        ({"global_batch_size": 16, "auto_find_batch_size": True}, "auto_find_batch_size: would make another batch"),
        ({"global_batch_size": 0}, "at least 1"),
    ],
)
def test_a_config_refuses_what_would_make_another_batch(kind, tmp_path, fields, says):
    _, tests = kind
    with pytest.raises(StageError, match=says):
        tests.config(tmp_path, **{"per_device_train_batch_size": 8, **fields})


def test_a_trainer_whose_step_accelerate_makes_another_one_is_refused(kind, tmp_path, tokenizer):
    config = {"gradient_accumulation_kwargs": {"num_steps": 2}}
    fields = {"global_batch_size": 8, "per_device_train_batch_size": 8, "accelerator_config": config}
    with pytest.raises(StageError, match="global_batch_size: 8, and the trainer would take 16 a step"):
        made(kind, tmp_path, tokenizer, **fields)


@SUPERVISED
def test_a_copy_of_a_config_has_its_batch(kind, tmp_path):
    _, tests = kind
    config = tests.config(tmp_path, global_batch_size=16, per_device_train_batch_size=4)
    assert replace(config, learning_rate=1.0).gradient_accumulation_steps == 4
    with pytest.raises(StageError, match="gradient_accumulation_steps: 4 beside global_batch_size 16"):
        replace(config, per_device_train_batch_size=8)


class AutoConfig(HfTrainerDeepSpeedConfig, HfDeepSpeedConfig):
    """A DeepSpeed config whose batch is `auto`, made without the DeepSpeed that transformers asks for."""

    def __init__(self):
        names = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
        HfDeepSpeedConfig.__init__(self, dict.fromkeys(names, "auto"))
        self.mismatches = []


def test_deepspeed_is_told_the_accumulation(kind, tmp_path):
    _, tests = kind
    config = AutoConfig()
    config.trainer_config_process(tests.config(tmp_path, global_batch_size=16, per_device_train_batch_size=4))
    expected = {"train_batch_size": 16, "train_micro_batch_size_per_gpu": 4, "gradient_accumulation_steps": 4}
    assert (config.mismatches, config.config) == ([], expected)


def test_a_configured_accelerator_is_left_to_the_config_that_names_it(kind, tmp_path):
    _, tests = kind
    PartialState._reset_state()
    with pytest.raises(ValueError, match="requires a pre-configured"):
        tests.config(tmp_path, global_batch_size=8, accelerator_config={"use_configured_state": True})
    state = PartialState(cpu=True)
    config = tests.config(tmp_path, global_batch_size=8, accelerator_config={"use_configured_state": True})
    assert config.distributed_state._shared_state is state._shared_state
    assert config.gradient_accumulation_steps * config.per_device_train_batch_size == 8
