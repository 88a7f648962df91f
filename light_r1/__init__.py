"""light_r1: curriculum training of long chain-of-thought models over TRL.

Public names are loaded when first used, so that `import light_r1` stays cheap and a bad recipe is reported before
anything heavy is imported.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "ChatFormat": "light_r1.chat",
    "CurriculumSFTConfig": "light_r1.trainers.sft",
    "CurriculumSFTTrainer": "light_r1.trainers.sft",
    "SemiOnPolicyDPOConfig": "light_r1.trainers.dpo",
    "SemiOnPolicyDPOTrainer": "light_r1.trainers.dpo",
    "StagedGRPOConfig": "light_r1.trainers.grpo",
    "StagedGRPOTrainer": "light_r1.trainers.grpo",
    "build_pairs": "light_r1.pairs",
    "load_recipe": "light_r1.recipe",
    "merge_models": "light_r1.merge",
    "run_recipe": "light_r1.run",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from light_r1.chat import ChatFormat
    from light_r1.merge import merge_models
    from light_r1.pairs import build_pairs
    from light_r1.recipe import load_recipe
    from light_r1.run import run_recipe
    from light_r1.trainers.dpo import SemiOnPolicyDPOConfig, SemiOnPolicyDPOTrainer
    from light_r1.trainers.grpo import StagedGRPOConfig, StagedGRPOTrainer
    from light_r1.trainers.sft import CurriculumSFTConfig, CurriculumSFTTrainer


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'light_r1' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
