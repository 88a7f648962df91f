"""Which settings of a training stage need less memory."""

from __future__ import annotations

from light_r1.recipe.check.args import Args
from light_r1.recipe.spec import StageSpec


def training_advice(spec: StageSpec, *, longest: str) -> str:
    """Return, as a sentence, which settings would need less memory, the cheapest first.

    Args:
        spec: The stage.
        longest: The arg that bounds the length of rows or completions.
    """
    args, ways = Args(spec), []
    if not (args.has("per_device_train_batch_size") and args.has(longest)):
        return ""  # a type with settings of its own
    batch, steps = args["per_device_train_batch_size"], args["gradient_accumulation_steps"]
    if batch > 1:
        ways.append(
            f"per_device_train_batch_size={batch // 2} with gradient_accumulation_steps={steps * 2}, the same batch "
            "(it goes on from its checkpoint)"
        )
    if not args.recomputes:
        newer = args.written("activation_checkpointing")  # where both names are set, the newer one counts
        ways.append(f"{'activation' if newer else 'gradient'}_checkpointing=true")
    ways.append(f"a lower {longest} (now {args[longest]})")
    if spec.model.lora is None:
        ways.append("a lora block")
    return f"What helps, in this order: {'; '.join(ways)}; more GPUs with --config zero3."
