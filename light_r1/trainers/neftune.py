"""NEFTune (Jain et al., 2310.05914): noise on the embeddings of a row, uniform in +-alpha / sqrt(length * size).

transformers takes the width of the batch for the length of a row, so that padding makes the noise of a row smaller
and packing smaller still: by sqrt(8) for eight rows in one. The authors' code takes each row's own length, and so does
this, from the position ids of packed rows, which start anew with each, or else from the attention mask.
"""

from __future__ import annotations

from typing import Any

import torch
from peft import PeftModel
from transformers import Trainer, TrainerCallback


class RowNoise(TrainerCallback):
    """Adds the noise of a trainer with `neftune_noise_alpha` in place of transformers.

    Args:
        trainer: The trainer, which gets the callback.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.alpha = trainer.neftune_noise_alpha
        trainer.neftune_noise_alpha = None  # or transformers would add its own
        self.lengths: torch.Tensor | None = None
        self.hooks: list[Any] = []
        trainer.add_callback(self)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Hook the model and its embeddings."""
        self.on_train_end(args, state, control)  # hooks of a run that was broken off
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        base = model.get_base_model() if isinstance(model, PeftModel) else model
        self.hooks = [
            model.register_forward_pre_hook(self._note_lengths, with_kwargs=True),
            base.get_input_embeddings().register_forward_hook(self._add_noise),
        ]

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave the model as it was."""
        for hook in self.hooks:
            hook.remove()

    def _note_lengths(self, module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        self.lengths = row_lengths(kwargs.get("position_ids"), kwargs.get("attention_mask"))

    def _add_noise(self, module: torch.nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor | None:
        if not module.training:
            return None
        length = output.new_tensor(float(output.size(1))) if self.lengths is None else self.lengths[..., None]
        bound = self.alpha / (length * output.size(2)).sqrt()
        return output + torch.empty_like(output).uniform_(-1, 1) * bound.to(output)


def row_lengths(position_ids: torch.Tensor | None, attention_mask: torch.Tensor | None) -> torch.Tensor | None:
    """Return the length of the row that each token is of, `[batch, tokens]` or `[batch, 1]`.

    Args:
        position_ids: Positions `[batch, tokens]`, from 0 in each of several rows that are packed into one.
        attention_mask: 1 for tokens and 0 for padding, `[batch, tokens]`; read without positions.
    """
    if position_ids is not None:
        row = (position_ids == 0).flatten().cumsum(0)
        return torch.bincount(row)[row].view_as(position_ids)
    if attention_mask is not None:
        return attention_mask.sum(1, keepdim=True)
    return None
