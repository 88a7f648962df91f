"""Staged GRPO over TRL's `GRPOTrainer`: config, trainer and its parts; rewards are in `light_r1.rewards`."""
