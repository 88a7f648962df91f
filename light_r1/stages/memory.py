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
    if not (args.has_batch and args.has(longest)):
        return ""  # a type with settings of its own
    batch = args["per_device_train_batch_size"]
    if batch > 1:
        ways.append(_smaller_passes(args, batch))
    if not args.recomputes:
        newer = args.written("activation_checkpointing")  # where both names are set, the newer one counts
        ways.append(f"{'activation' if newer else 'gradient'}_checkpointing=true")
    ways.append(f"a lower {longest} (now {args[longest]})")
    if spec.model.lora is None:
        ways.append("a lora block")
    return f"What helps, in this order: {'; '.join(ways)}; more GPUs with --config zero3."


def _smaller_passes(args: Args, per_device: int) -> str:
    """Return which settings make the same batch of smaller forward passes."""
    part = next(number for number in range(2, per_device + 1) if per_device % number == 0)
    way = f"per_device_train_batch_size={per_device // part}"
    if args.global_batch_size is None:
        steps = {"gradient_accumulation_steps": args.batch(1).accumulation}
        if args.has("steps_per_generation") and args["steps_per_generation"]:
            steps["steps_per_generation"] = args["steps_per_generation"]
        way += f" with {' and '.join(f'{name}={count * part}' for name, count in steps.items())}"
    return f"{way}, the same batch (it goes on from its checkpoint)"
