"""Two optimizer steps of one trainer, its weights saved: run alone and under `torchrun --nproc_per_node 2`."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from peft import LoraConfig

from light_r1 import (
    CurriculumSFTConfig,
    CurriculumSFTTrainer,
    GroupReward,
    SemiOnPolicyDPOConfig,
    SemiOnPolicyDPOTrainer,
    StagedGRPOConfig,
    StagedGRPOTrainer,
)
from light_r1.ranks import leave_ranks
from light_r1.rewards.verified import get_kimi_length_reward
from tests.conftest import character_tokenizer, make_model
from tests.left_run import assert_left


def solution(value: int) -> str:
    return f"<think>\n{'so ' * (value % 5)}{value}\n</think>\n\n\\boxed{{{value}}}"


ROWS = [
    {"problem": f"{a}+1?", "answer": str(a + 1), "solution": solution(a + 1), "difficulty": a}
    | {"chosen": solution(a + 1), "rejected": solution(a + 4)}
    for a in range(16)
]


def length(completion_ids, **_):
    return [float(len(ids)) for ids in completion_ids]


def rarely(completion_ids, **_):
    """Equal for many groups, so that some are replaced."""
    return [float(sum(ids) % 9 == 0) for ids in completion_ids]


@GroupReward
def ranked(completion_ids, row, trainer_state, log_extra, **_):
    """A reward that only a whole group gives; every call is noted."""
    assert len(set(row)) == 1 and len(row) == 6, f"not one whole group: {row}"
    lengths = [len(ids) for ids in completion_ids]
    log_extra("rank", [sorted(lengths).index(length) for length in lengths])
    judged.append((trainer_state.global_step, row[0]))
    return [(length - min(lengths)) / (1 + max(lengths) - min(lengths)) for length in lengths]


judged: list[tuple[int, int]] = []


def main(kind: str, lora: bool, processes: int, folder: Path) -> None:
    tokenizer = character_tokenizer("chatml", think_special=True)
    groups = kind.startswith("grpo-group")
    batch, halves = 18 if groups else 8, lora or groups
    common = {
        # all weights: one process accumulates what two share; adapters and groups: two halves
        "global_batch_size": batch,
        "per_device_train_batch_size": batch // processes if halves else batch // 2,
        "max_steps": 2,
        "optim": "sgd",
        "learning_rate": 0.1,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1e9,
        "bf16": False,
        "activation_checkpointing": False,
        "report_to": "none",
        "save_strategy": "no",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    adapter = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM", init_lora_weights=True)
    extra = {"processing_class": tokenizer} | ({"peft_config": adapter} if lora else {})
    model = make_model(tokenizer)
    torch.manual_seed(0)
    if kind == "sft":
        trainer = CurriculumSFTTrainer(
            model,
            CurriculumSFTConfig(str(folder), max_length=256, order="staged", batch_by_length=lora, **common),
            ROWS,
            **extra,
        )
    elif kind == "dpo":
        pairs = [{key: row[key] for key in ("problem", "chosen", "rejected")} for row in ROWS]
        trainer = SemiOnPolicyDPOTrainer(
            model, SemiOnPolicyDPOConfig(str(folder), loss_type="nca_pair", max_length=256, **common), pairs, **extra
        )
    else:
        chosen = {"pass_rate_window": [0.1, 0.9], "dynamic_sampling": 3} if kind == "grpo-chosen" else {}
        if kind == "grpo-groups-chosen":
            chosen = {"dynamic_sampling": 1}
        args = StagedGRPOConfig(
            str(folder),
            num_generations=6 if groups else 4,
            max_completion_length=16,
            loss_type="dapo",
            **common,
            **chosen,
        )
        rows = [{**row, "pass_rate": 1.0 if row["difficulty"] % 3 == 0 else None} for row in ROWS]
        rewards = [ranked, get_kimi_length_reward()] if groups else [rarely if chosen else length]
        if groups:  # every problem twice, as prompts of their own
            rows = [{**row, "problem": f"{index // 2}+1?", "row": index} for index, row in enumerate(rows)]
        trainer = StagedGRPOTrainer(model, rewards, args, rows, **extra)
    assert trainer.args.gradient_accumulation_steps == (1 if halves else 2 // processes)
    trainer.train()
    if groups:
        history = [{k: v for k, v in event.items() if "reward" in k} for event in trainer.state.log_history]
        extra = {name: list(values) for name, values in trainer._logs["extra"].items()}
        torch.save((judged, history, extra), folder / f"groups_{trainer.accelerator.process_index}.pt")
    if kind == "grpo-chosen":
        history = trainer.state.log_history
        assert max(event.get("sampled/extra_rounds", 0) for event in history) > 0, "no group was replaced"
        torch.save(
            {"queue": trainer.queue.state_dict(), "sampled": [event.get("sampled/completions") for event in history]},
            folder / f"chosen_{trainer.accelerator.process_index}.pt",
        )
    assert trainer.accelerator.num_processes == processes, "the processes did not find each other"
    if trainer.accelerator.is_main_process:
        weights = {
            name: p.detach().clone() for name, p in trainer.accelerator.unwrap_model(trainer.model).named_parameters()
        }
        torch.save(weights, folder / "weights.pt")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2] == "lora", int(sys.argv[3]), Path(sys.argv[4]))
    leave_ranks()
    assert_left()
