"""Curriculum SFT over TRL's `SFTTrainer`: config, trainer, order of rows, rendering; no data is cleaned here."""
