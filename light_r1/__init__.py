"""light_r1: curriculum training of long chain-of-thought models over TRL.

Public names are loaded when first used, so that `import light_r1` stays cheap and a bad recipe is reported before
anything heavy is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "ChatFormat": "light_r1.models.chat",
    "Completion": "light_r1.rollouts.sampler",
    "CurriculumSFTConfig": "light_r1.trainers.sft.config",
    "CurriculumSFTTrainer": "light_r1.trainers.sft.trainer",
    "GroupReward": "light_r1.rewards.group",
    "HFSampler": "light_r1.rollouts.hf",
    "Request": "light_r1.rollouts.sampler",
    "SamplingParams": "light_r1.rollouts.sampler",
    "SemiOnPolicyDPOConfig": "light_r1.trainers.dpo.config",
    "SemiOnPolicyDPOTrainer": "light_r1.trainers.dpo.trainer",
    "Stage": "light_r1.stages.base",
    "StageResult": "light_r1.stages.base",
    "StagedGRPOConfig": "light_r1.trainers.grpo.config",
    "StagedGRPOTrainer": "light_r1.trainers.grpo.trainer",
    "accuracy": "light_r1.rewards.verified",
    "build_pairs": "light_r1.rollouts.pairs",
    "compare": "light_r1.rollouts.scores",
    "get_cosine_reward": "light_r1.rewards.verified",
    "leave_ranks": "light_r1.ranks",
    "load_model": "light_r1.models.load",
    "load_recipe": "light_r1.recipe.read",
    "load_reward": "light_r1.rewards",
    "merge_models": "light_r1.models.merge",
    "run_recipe": "light_r1.run.walk",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from light_r1.models.chat import ChatFormat
    from light_r1.models.load import load_model
    from light_r1.models.merge import merge_models
    from light_r1.ranks import leave_ranks
    from light_r1.recipe.read import load_recipe
    from light_r1.rewards import load_reward
    from light_r1.rewards.group import GroupReward
    from light_r1.rewards.verified import accuracy, get_cosine_reward
    from light_r1.rollouts.hf import HFSampler
    from light_r1.rollouts.pairs import build_pairs
    from light_r1.rollouts.sampler import Completion, Request, SamplingParams
    from light_r1.rollouts.scores import compare
    from light_r1.run.walk import run_recipe
    from light_r1.stages.base import Stage, StageResult
    from light_r1.trainers.dpo.config import SemiOnPolicyDPOConfig
    from light_r1.trainers.dpo.trainer import SemiOnPolicyDPOTrainer
    from light_r1.trainers.grpo.config import StagedGRPOConfig
    from light_r1.trainers.grpo.trainer import StagedGRPOTrainer
    from light_r1.trainers.sft.config import CurriculumSFTConfig
    from light_r1.trainers.sft.trainer import CurriculumSFTTrainer


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'light_r1' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
