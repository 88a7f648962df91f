"""Semi-on-policy DPO over TRL's `DPOTrainer`: config, trainer, margin by length; pairs are made in `rollouts`."""
