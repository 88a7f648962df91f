"""Curriculum SFT over TRL's `SFTTrainer`: config, trainer, order of rows and rendering."""
