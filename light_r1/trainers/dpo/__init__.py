"""Semi-on-policy DPO over TRL's `DPOTrainer`: config, trainer, and the margin by length."""
