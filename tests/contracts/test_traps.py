"""What TRL 1.16 and its neighbours do without a word, and the test that shows it does not happen here."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
START = "light_r1/trainers/test_building.py"
RENDERING = "light_r1/trainers/sft/test_rendering.py"
SFT = "light_r1/trainers/sft/test_trainer.py"
DPO = "light_r1/trainers/dpo/test_trainer.py"
GRPO = "light_r1/trainers/grpo/test_trainer.py"
TRAPS = {
    "a launcher starts one process for two": (
        "light_r1/stages/test_stages.py",
        "processes_that_did_not_find_each_other",
    ),
    "DeepSeek-R1's template drops the reasoning, in SFT and DPO": (START, "a_template_that_drops_the_thought"),
    "ShareGPT's roles stay as they are": (RENDERING, "roles_and_the_system_prompt_survive_every_schema"),
    "a system column beside conversations is lost": (RENDERING, "roles_and_the_system_prompt_survive_every_schema"),
    "alpaca and role/content conversations end in KeyError": (SFT, "rows_without_a_known_form_name_their_columns"),
    "columns never reach the loss": (SFT, "loss_is_logged_by_difficulty"),
    "ChatML trains the newline behind the end token": (SFT, "the_thought_the_answer_and_the_end_are_trained"),
    "an edited template cannot be masked": (
        "light_r1/models/test_chat.py",
        "supervised_text_is_thought_answer_and_end",
    ),
    "the saved template and end token are the base model's": (START, "the_saved_model_prompts_and_stops"),
    "wrapped packing mixes documents": (SFT, "packing_needs_a_size_and_whole_rows"),
    "packed documents see each other": ("light_r1/trainers/sft/test_packed_loss.py", "packed_tokens_score_as_alone"),
    "packing without a kernel for it is slower": (SFT, "auto_packing_needs_a_varlen_kernel"),
    "packing sorts rows by length": (SFT, "packing_keeps_the_curriculum"),
    "rows are cut at 1,024 tokens and lose their end": (SFT, "overlong_rows_are_dropped_counted_and_never_cut"),
    "packing cuts rows": (SFT, "rows_that_come_as_ids_or_text_are_not_cut_either"),
    "fully masked rows are kept when packed": (RENDERING, "rows_without_a_label_are_lost_with_a_reason"),
    "save_only_model resumes with a fresh optimizer": (START, "a_checkpoint_without_its_optimizer_is_not_resumed"),
    "pairs are cut and lose both ends": (DPO, "overlong_pairs_are_dropped_and_counted"),
    "DPO pads, and encodes the prompt twice": (
        "light_r1/trainers/test_packing.py",
        "a_prompt_is_packed_once_and_padding",
    ),
    "the reference is reloaded from the config's path": (DPO, "the_reference_is_the_policy_as_it_starts"),
    "a reference that would be reloaded": (DPO, "a_reference_that_trl_would_reload_is_refused"),
    "a second trainer on an adapter stops": (DPO, "a_second_trainer_on_the_same_adapter"),
    "new tokens are not trained under LoRA": (
        "light_r1/models/test_load.py",
        "new_think_tokens_train_under_lora_through",
    ),
    "modules_to_save unties tied embeddings": (START, "an_adapter_that_would_untie_the_embeddings_is_refused"),
    "an adapter's path loads as base and adapter": (START, "the_path_of_an_adapter_is_refused"),
    "two trainers on one model patch it twice": (START, "one_model_can_be_trained_again"),
    "a stage starts from an adapter": ("light_r1/stages/test_stages.py", "a_lora_stage_writes_an_adapter_whose_base"),
    "the KL reference is reloaded too": (GRPO, "the_kl_reference_is_the_model_that_training_starts_from"),
    "max_completion_length changes nothing during a run": (GRPO, "generation_follows_the_schedule"),
    "a run that diverged ends with loss 0 and is saved": (
        "light_r1/trainers/test_finite.py",
        "a_learning_rate_that_diverges_stops",
    ),
    "a metric without a value is None": (
        "light_r1/trainers/grpo/test_signal.py",
        "a_number_without_a_value_is_not_logged",
    ),
    "constant groups train nothing": (
        "light_r1/trainers/grpo/test_dynamic_sampling.py",
        "groups_without_gradient_are_replaced",
    ),
    "a reward that raises ends the run": (GRPO, "a_reward_that_raises_costs_one_completion"),
    "a reward that hangs stalls every rank": ("light_r1/rewards/test_guard.py", "one_that_hangs_costs_one_completion"),
    "rollouts lack the opening tag": (GRPO, "rewards_see_think_tags_and_gold_columns"),
    "a resume in the middle of reused completions": (GRPO, "a_run_resumed_between_steps_that_share_completions"),
    "quoted numbers and wrong types pass": (
        "light_r1/recipe/test_typecheck.py",
        "quoted_values_fit_exactly_their_kinds",
    ),
    "misspelt keys pass": ("light_r1/recipe/test_typecheck.py", "a_block_reports_unknown_missing_and_misplaced_keys"),
    "choices are not checked": (START, "settings_that_mean_nothing_are_refused"),
}


@cache
def names_in(file: str) -> list[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


@pytest.mark.parametrize("trap", TRAPS)
def test_every_trap_has_its_test(trap):
    file, start = TRAPS[trap]
    assert any(name.startswith(f"test_{start}") for name in names_in(file)), f"{file} has no test_{start}..."
