"""Settings of TRL and transformers that these trainers refuse, since they would have no effect, or not theirs.

Everything else of TRL's configs means what TRL says, or differs as `docs/trl_settings.md` tells. The recipe's check
reads this file, so nothing heavy is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from light_r1.errors import StageError


@dataclass(frozen=True, slots=True)
class Refusal:
    """A setting that is taken at some values only.

    Args:
        field: Its name.
        taken: The values that are taken, the default first.
        why: What keeps the others from meaning what TRL says.
        hint: What does what they are for.
    """

    field: str
    taken: tuple[Any, ...]
    why: str
    hint: str = ""

    @property
    def expected(self) -> str:
        """The values that are taken, as a recipe writes them."""
        return " or ".join(json.dumps(value) for value in self.taken)


_LABEL_NAMES = Refusal("label_names", (None,), "TRL's trainers name the columns of a batch themselves")
_LABEL_SMOOTHING = Refusal("label_smoothing_factor", (0.0,), "no token has a label that could be smoothed")
_LENGTH_COLUMN = Refusal("length_column_name", ("length",), "no column is read for lengths")
_PER_TOKEN = "the loss is no mean over the tokens that transformers counts"
_AVERAGE_TOKENS = Refusal("average_tokens_across_devices", (True,), _PER_TOKEN)
_TRUNCATION = Refusal("truncation_mode", ("keep_start",), "nothing is cut", "overlength says what happens instead.")

SFT = (
    Refusal("chat_template_path", (None,), "rows are rendered by the chat format", "Its template is saved."),
    Refusal("eos_token", (None,), "the chat format's template says which token ends a turn"),
    _TRUNCATION,
    Refusal("packing_strategy", ("bfd",), "the others cut rows into pieces", "Rows are packed whole."),
    Refusal("shuffle_dataset", (False,), "rows are ordered by epoch", "order: random shuffles each."),
    Refusal("assistant_only_loss", (False,), "the last turn alone is trained, of every kind of row"),
    Refusal(
        "train_sampling_strategy",
        ("random", "sequential"),
        "batches are made of rows in order",
        "batch_by_length, which is the default, groups by length.",
    ),
    _LENGTH_COLUMN,
    Refusal(
        "dataset_kwargs",
        (None, {}, {"skip_prepare_dataset": False}, {"skip_prepare_dataset": True}),
        "TRL reads no other key",
    ),
    _LABEL_NAMES,
)
DPO = (
    _TRUNCATION,
    Refusal("padding_free", (False,), "TRL has switched it off", "share_prefixes scores without padding."),
    Refusal("train_sampling_strategy", ("random", "sequential"), "pairs have no single length to group by"),
    _LENGTH_COLUMN,
    Refusal("label_smoothing_factor", (0.0,), _LABEL_SMOOTHING.why, "label_smoothing smooths preferences."),
    _AVERAGE_TOKENS,
    _LABEL_NAMES,
)
GRPO = (
    Refusal(
        "train_sampling_strategy",
        ("random",),
        "TRL orders prompts itself",
        "shuffle_dataset: false keeps the order of rows.",
    ),
    _LENGTH_COLUMN,
    Refusal("data_seed", (None,), "TRL orders prompts by seed alone"),
    _LABEL_SMOOTHING,
    _AVERAGE_TOKENS,
    _LABEL_NAMES,
)
_FLAG = "it is a flag for scripts, which no trainer reads"
RECIPE = (
    Refusal("model_init_kwargs", (None,), "a stage loads its model before", "The model block says how."),
    Refusal("dataset_kwargs", (None, {}), "rows of a recipe are text, which has to be prepared"),
    Refusal("chat_template_kwargs", (None,), "problems are rendered by chat, not by a template"),
    Refusal("max_tool_calling_iterations", (None,), "a stage has no tools"),
    Refusal("do_train", (False,), _FLAG),
    Refusal("do_predict", (False,), _FLAG),
    Refusal("do_eval", (False,), _FLAG, "eval_strategy says when to evaluate."),
    Refusal("local_rank", (-1,), "the launcher tells processes apart"),
)
"""What a stage of a recipe refuses besides: settings that mean something in a script alone."""


def refused(refusals: Sequence[Refusal], values: Mapping[str, Any]) -> Iterator[Refusal]:
    """Yield the refusals that settings meet.

    Args:
        refusals: What is refused; the last of a field counts.
        values: Settings by name; those that are missing have their defaults.
    """
    for refusal in {one.field: one for one in refusals}.values():
        if refusal.field in values and values[refusal.field] not in refusal.taken:
            yield refusal


def refuse(refusals: Sequence[Refusal], values: Mapping[str, Any], conflicts: Iterable[tuple[str, str]] = ()) -> None:
    """Refuse the settings of a config that is being built, all at once.

    Args:
        refusals: What is refused.
        values: Its settings.
        conflicts: What keeps settings from having their effect.

    Raises:
        StageError: There are some.
    """
    found = [
        f"{one.field}: {values[one.field]!r} is refused: {one.why}; expected {one.expected}. {one.hint}".rstrip()
        for one in refused(refusals, values)
    ]
    found += [f"{name}: {why}." for name, why in conflicts]
    if found:
        raise StageError("\n".join(found))


class Settings(Protocol):
    """The settings of a config or of a recipe's stage, defaults included, by name."""

    def __getitem__(self, name: str, /) -> Any:
        """Return a setting."""


def sft_conflicts(args: Settings) -> Iterator[tuple[str, str]]:
    """Yield what keeps settings of supervised fine-tuning from having their effect: the setting, and why."""
    if args["train_sampling_strategy"] == "sequential" and args["order"] != "random":
        yield "train_sampling_strategy", f"sequential keeps the order of rows, and order {args['order']} makes one"
    if args["packing"] is not True and args["padding_free"] and args["max_length"] is not None:
        yield "padding_free", "without packing: true, TRL takes it with max_length null only"
    if args["packing"] is False and args["eval_packing"]:
        yield "eval_packing", "without packing, TRL's batches let the rows of a packed one see each other"


def dpo_conflicts(args: Settings) -> Iterator[tuple[str, str]]:
    """Yield what keeps settings of preference training from having their effect: the setting, and why."""
    unread = ("selective",) if args["precompute_ref_log_probs"] else ("selective", "every_n_layers", "offload")
    yield from _unread_checkpointing(args, unread)


def grpo_conflicts(args: Settings) -> Iterator[tuple[str, str]]:
    """Yield what keeps settings of GRPO from having their effect: the setting, and why."""
    yield from _unread_checkpointing(args, ("selective", "every_n_layers", "offload"))


def _unread_checkpointing(args: Settings, unread: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield keys of checkpointing that TRL hands on to PyTorch, which takes none of them, between two steps."""
    for name in ("gradient_checkpointing_kwargs", "activation_checkpointing_kwargs"):
        for key in unread:
            if key in (args[name] or ()):
                yield name, f"TRL's trainer does not take {key} here"
