"""What the parts of `StagedGRPOTrainer` may use of it.

The parts (context, dynamic sampling, metrics, rollouts) are imported by the trainer; typed by this protocol they do
not import it back. Names with an underscore are TRL's own and have their contract tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch
    from accelerate import Accelerator
    from datasets import Dataset
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerState

    from light_r1.models.chat import ChatFormat
    from light_r1.trainers.difficulty import DifficultyRewards
    from light_r1.trainers.finite import FiniteWatch
    from light_r1.trainers.grpo.collapse import CollapseWatch
    from light_r1.trainers.grpo.config import StagedGRPOConfig
    from light_r1.trainers.grpo.context import ContextSchedule
    from light_r1.trainers.grpo.prompt_queue import PromptQueue


class StagedTrainer(Protocol):
    """A GRPO trainer with a staged context, as its parts see it."""

    args: StagedGRPOConfig
    accelerator: Accelerator
    state: TrainerState
    model: PreTrainedModel
    model_wrapped: torch.nn.Module
    train_dataset: Dataset
    chat: ChatFormat
    context: ContextSchedule
    finite: FiniteWatch
    watch: CollapseWatch
    queue: PromptQueue | None
    by_difficulty: DifficultyRewards | None
    rewinds: int
    beta: float
    entropy_coef: float
    temperature: float
    num_generations: int
    num_generations_eval: int
    max_completion_length: int
    eos_token_ids: list[int]
    generation_kwargs: dict[str, Any]
    reward_weights: torch.Tensor
    reward_func_names: list[str]
    multi_objective_aggregation: str
    tools: Any
    environment_factories: Any
    _is_vlm: bool
    _metrics: dict[str, dict[str, list[float]]]
    _tokenizer: PreTrainedTokenizerBase
    _pending_extra_logs: dict[str, list[Any]]

    def enter_context(self) -> None:
        """Set the completion length and the settings of the current context stage."""

    def rollout(self, prompts: list[str]) -> dict[str, Any]:
        """Return one completion for each prompt."""

    def judged(self, inputs: list[dict[str, Any]], prompts: list[str], ids: list[list[int]]) -> torch.Tensor:
        """Return the rewards of completions, `[completions of all ranks, functions]`."""

    def _tokenize_prompts(self, prompts: list[str]) -> tuple[list[list[int]], Any, dict[str, Any]]: ...

    def _generate_single_turn(
        self, prompt_ids: list[list[int]], images: Any, multimodal_fields: dict[str, Any], num_generations: int
    ) -> tuple[list[list[int]], list[list[float]] | None]: ...
