"""Models and tokenizers in and out: from a name, a folder, a LoRA adapter, or nothing but a config.

A stage's output folder always holds a model that `AutoModelForCausalLM.from_pretrained` loads and its tokenizer.
With LoRA it holds an adapter that plain PEFT loads. `load_adapter` gives it back as an adapter on its base,
`load_model` as one whole model, so that adapters never stack silently (loading an adapter folder by path gives base
plus adapter as one model class, and a second adapter on top of it behaves differently from what its author expects).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import (
    AddedToken,
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
)
from transformers.utils import is_flash_attn_2_available

from light_r1.errors import LightR1Error, StageError
from light_r1.models.handover import DTYPES, read_handover

if TYPE_CHECKING:
    from peft import PeftModel


def resolve_attention(name: str) -> str:
    """Return the attention implementation meant by `auto`: FlashAttention 2 on a GPU that has it, else SDPA."""
    if name != "auto":
        return name
    return "flash_attention_2" if torch.cuda.is_available() and is_flash_attn_2_available() else "sdpa"


def load_tokenizer(path: str | Path, **options: Any) -> PreTrainedTokenizerBase:
    """Load a tokenizer with a padding token that is not the end token where the vocabulary has a spare one."""
    return with_pad_token(_tokenizer_class(Path(path)).from_pretrained(str(path), **options))


_AS_SAVED = ("PreTrainedTokenizerFast", "TokenizersBackend")


def _tokenizer_class(folder: Path) -> Any:
    """Return the class that loads a folder's tokenizer as it was saved.

    Beside the config of some model types (qwen2 is one) `AutoTokenizer` of transformers 5 rebuilds the type's own
    tokenizer from vocabulary and merges, and drops the saved pre-tokenizer without a word.
    """
    file = folder / "tokenizer_config.json"
    saved = json.loads(file.read_text(encoding="utf-8")).get("tokenizer_class") if file.exists() else None
    return PreTrainedTokenizerFast if saved in _AS_SAVED else AutoTokenizer


def with_pad_token(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """Give the tokenizer a padding token.

    Padding with the end token is how models unlearn to stop: wherever labels are derived from padding, the end
    token loses its label. Labels are explicit here, but other tools will load the saved tokenizer.
    """
    if tokenizer.pad_token is None:
        spare = next(
            (t for t in ("<|endoftext|>", "<|finetune_right_pad_id|>", "<pad>") if t in tokenizer.get_vocab()),
            None,
        )
        tokenizer.pad_token = spare or tokenizer.eos_token
    return tokenizer


def load_model(
    path: str | Path,
    *,
    dtype: str = "bfloat16",
    attn_implementation: str = "auto",
    quantization: Mapping[str, Any] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    """Load a causal language model; a LoRA adapter folder is loaded with its adapter merged.

    Args:
        path: Hub name, model folder, or adapter folder.
        dtype: `bfloat16`, `float16`, `float32`, or `auto` for the type that the weights are saved in.
        attn_implementation: A transformers name, or `auto` (see `resolve_attention`).
        quantization: Fields of `transformers.BitsAndBytesConfig`.
        revision: Hub revision.
        trust_remote_code: Run code that comes with the model.

    Raises:
        StageError: The base of an adapter is not where the adapter says.
    """
    options: dict[str, Any] = {
        "dtype": dtype,
        "attn_implementation": attn_implementation,
        "quantization": quantization,
        "trust_remote_code": trust_remote_code,
    }
    if is_adapter(path):
        return merged(load_adapter(path, **options))
    return _from_pretrained(str(path), revision=revision, **options)


def is_adapter(path: str | Path) -> bool:
    """Whether a folder holds an adapter, not a whole model."""
    return (Path(path) / "adapter_config.json").is_file()


def load_adapter(path: str | Path, *, trainable: bool = False, **options: Any) -> PeftModel:
    """Load an adapter on its base, neither merged.

    Args:
        path: Adapter folder.
        trainable: Whether the adapter is to be trained on.
        **options: Those of `load_model`, for the base.

    Raises:
        StageError: The base is not where the adapter says.
    """
    from peft import PeftModel, load_peft_weights, set_peft_model_state_dict

    base, revision = base_of(path)
    model = _from_pretrained(base, revision=revision, **options)
    tokens = len(load_tokenizer(path)) if any(Path(path).glob("tokenizer*")) else 0  # peft itself saves none
    if tokens > model.get_input_embeddings().weight.shape[0]:  # as peft does: tokens that were added in training
        model.resize_token_embeddings(tokens)
    adapter = PeftModel.from_pretrained(model, str(path), is_trainable=trainable)
    if copies := _copied_modules(adapter):  # peft has rounded what was saved of them to the type of the base
        for weight in copies:
            weight.data = weight.data.float()
        set_peft_model_state_dict(adapter, load_peft_weights(str(path)))
    for config in adapter.peft_config.values():
        config.base_model_name_or_path = base  # where it was found, for whoever saves the adapter again
    return adapter


def merged(adapter: PeftModel) -> PreTrainedModel:
    """Return the base of an adapter with the adapter merged into it, all of its weights to be trained again."""
    to_type_of_base(adapter)
    whole: PreTrainedModel = adapter.merge_and_unload()
    return whole if "quantization_config" in whole.config else whole.requires_grad_(True)


def to_type_of_base(adapter: PeftModel) -> None:
    """Hold whole modules of an adapter (`modules_to_save`) in the type of its base, which needs no autocast then."""
    for weight in _copied_modules(adapter):
        weight.data = weight.data.to(adapter.get_base_model().dtype)


def _copied_modules(adapter: PeftModel) -> list[torch.nn.Parameter]:
    return [weight for name, weight in adapter.named_parameters() if ".modules_to_save." in name]


def base_of(path: str | Path) -> tuple[str, str | None]:
    """Return where the base of an adapter lies (a folder, or a name on the hub), and its revision.

    peft stores the base of an adapter as one absolute path. A run folder that was moved takes those bases with it that
    lie inside; for them `handover.json` says where they lie from the adapter's own folder, and that goes first.

    Raises:
        StageError: It was a folder, and is gone.
    """
    folder = Path(path)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    base, revision = config["base_model_name_or_path"], config.get("revision")
    handover = read_handover(folder)
    if handover is not None and handover.base is not None and (folder / handover.base / "config.json").is_file():
        return str((folder / handover.base).resolve()), None
    if base is None or (Path(base).is_absolute() and not Path(base).is_dir()):
        raise StageError(
            f"{folder}: the base of this adapter, {base}, is not there. Put it back, or write where it lies now into "
            f"base_model_name_or_path of {folder / 'adapter_config.json'}."
        )
    return str(base), revision


def _from_pretrained(
    path: str,
    *,
    dtype: str,
    attn_implementation: str,
    quantization: Mapping[str, Any] | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
) -> PreTrainedModel:
    options: dict[str, Any] = {
        "dtype": DTYPES.get(dtype, dtype),
        "attn_implementation": resolve_attention(attn_implementation),
        "trust_remote_code": trust_remote_code,
        "revision": revision,
    }
    if quantization:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(**quantization)
    model = AutoModelForCausalLM.from_pretrained(path, **options)
    if quantization:
        keep_trainable(model)
    return model


def keep_trainable(model: torch.nn.Module) -> None:
    """Keep 4-bit weights on a CPU in the form that has a backward pass.

    On CPUs with bfloat16 units, bitsandbytes packs a layer for inference in its first forward pass without a gradient
    (a reference, a sample, an evaluation), and can then train through it no more.
    """
    for module in model.modules():
        if type(module).__module__.startswith("bitsandbytes."):
            module.support_avx512bf16_for_cpu = False


def init_model(
    config: Mapping[str, Any],
    tokenizer: PreTrainedTokenizerBase,
    *,
    seed: int,
    dtype: str = "float32",
    attn_implementation: str = "auto",
) -> PreTrainedModel:
    """Build an untrained model from config fields (`model_type` and the fields of that type's config class)."""
    fields = dict(config)
    model_type = fields.pop("model_type", None)
    if model_type is None:
        raise LightR1Error("model.init.config: model_type is missing, such as qwen2 or llama.")
    built = AutoConfig.for_model(
        model_type,
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **fields,
    )
    torch.manual_seed(seed)
    return AutoModelForCausalLM.from_config(
        built, dtype=DTYPES[dtype], attn_implementation=resolve_attention(attn_implementation)
    )


def add_think_tokens(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> list[int]:
    """Register the think tags as tokens and give those that are new embedding rows at the mean of the others.

    They are added tokens, not special ones, as Qwen3 and DeepSeek-R1-Distill register theirs: what decodes without
    special tokens (vLLM's server, pipelines) would otherwise print thought and answer as one text.

    Returns:
        The ids of the tokens that were not in the vocabulary before.
    """
    new = [token for token in tokens if token not in tokenizer.get_vocab()]
    unknown = [token for token in tokens if token not in tokenizer.get_added_vocab()]  # or it may be cut to pieces
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in unknown])
    ids = [int(tokenizer.convert_tokens_to_ids(token)) for token in new]
    if new and len(tokenizer) > model.get_input_embeddings().weight.shape[0]:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=True)
    return ids


def lora_config(
    fields: Mapping[str, Any],
    *,
    new_token_ids: Sequence[int] = (),
    model: PreTrainedModel | None = None,
    revision: str | None = None,
) -> Any:
    """Build a `peft.LoraConfig` for a causal language model from recipe fields.

    Args:
        fields: Fields of `LoraConfig`.
        new_token_ids: Tokens whose embedding rows are trained as they are: LoRA on the layers cannot give a meaning
            to a token that the model has never seen.
        model: The model that gets the adapter; where its output layer has rows of its own, those of the new tokens
            are trained too.
        revision: Hub revision of the base, which whoever loads the adapter has to load.
    """
    from peft import LoraConfig

    options = dict(fields)
    if new_token_ids:
        layers = [] if model is None else _vocabulary_layers(model)
        rows = {name: list(new_token_ids) for name in layers} if layers else list(new_token_ids)
        options.setdefault("trainable_token_indices", rows)
    return LoraConfig(task_type="CAUSAL_LM", revision=revision, **options)


def _vocabulary_layers(model: PreTrainedModel) -> list[str]:
    """Return the names of the input and the output layer where they have weights of their own; none if they share."""
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    if ends[1] is None or ends[0].weight is ends[1].weight:
        return []
    return [name.rpartition(".")[2] for name, module in model.named_modules() if module in ends]


def show_tied_heads_bias(model: torch.nn.Module) -> None:
    """Let TRL's fused head read the bias of an output layer whose new tokens peft trains.

    With tied embeddings peft wraps the output layer too, and hands out its weight but not its bias, which TRL asks
    for: training new tokens by LoRA would stop at the first step.

    Raises:
        LightR1Error: The output layer has a bias.
    """
    from peft.utils.other import TrainableTokensWrapper

    for module in model.modules():
        if isinstance(module, TrainableTokensWrapper) and isinstance(module.original_module, torch.nn.Linear):
            if module.original_module.bias is not None:
                raise LightR1Error(
                    "an output layer with a bias cannot train new tokens by LoRA: train the whole model."
                )
            module.bias = None


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Save weights and tokenizer of an unwrapped model."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
