r"""Think-safe chat rendering: rows become token ids with an explicit loss mask.

Chat templates are written for inference, where earlier reasoning is thrown away; the DeepSeek-R1-Distill template
even drops everything before `</think>` from the turn being trained. So nothing here renders an assistant turn
through a Jinja template. A `Family` holds the literal pieces of a template, a `ChatFormat` joins them:

    prompt      <|im_start|>user\n{problem}<|im_end|>\n<|im_start|>assistant\n
    supervised  <think>\n{thought}\n</think>\n\n{answer}<|im_end|>

The generation prompt (which includes the opening `<think>` when it is forced) is a prefix of the training ids, token
by token, because prompt and completion are tokenised apart. `jinja()` gives the same prompt to inference engines.

Sources: the model cards' own templates. Whether Light-R1 puts a newline behind its forced `<think>` is not published;
this module does, as the DeepSeek-R1-Distill template does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from data_tools.traces.thoughts import THINK_TAGS, behind_thought, split_think
from light_r1.errors import DataError, LightR1Error, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORE = -100


@dataclass(frozen=True, slots=True)
class Family:
    """The literal pieces of one chat template; `{}` marks where the text goes.

    Args:
        bos: Text before everything.
        system: The system turn.
        user: A user turn.
        assistant: What stands before the assistant's text.
        end: The token that ends an assistant turn. Empty means the tokenizer's own end-of-sequence token.
        between: What stands between `end` and the next turn.
        mark: A token that only tokenizers of this family have; empty if nothing tells it.
        template_mark: What the tokenizer's chat template holds besides.
    """

    bos: str
    system: str
    user: str
    assistant: str
    end: str
    between: str = ""
    mark: str = ""
    template_mark: str = ""


_CHATML = Family(
    bos="",
    mark="<|im_start|>",
    system="<|im_start|>system\n{}<|im_end|>\n",
    user="<|im_start|>user\n{}<|im_end|>\n",
    assistant="<|im_start|>assistant\n",
    end="<|im_end|>",
    between="\n",
)

# In the order in which they are looked for; the first whose marks a tokenizer has is its own.
FAMILIES: dict[str, Family] = {
    "deepseek_r1": Family(
        mark="<｜Assistant｜>",
        bos="<｜begin▁of▁sentence｜>",
        system="{}",
        user="<｜User｜>{}",
        assistant="<｜Assistant｜>",
        end="<｜end▁of▁sentence｜>",
    ),
    "llama3": Family(
        mark="<|start_header_id|>",
        bos="<|begin_of_text|>",
        system="<|start_header_id|>system<|end_header_id|>\n\n{}<|eot_id|>",
        user="<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>",
        assistant="<|start_header_id|>assistant<|end_header_id|>\n\n",
        end="<|eot_id|>",
    ),
    "qwen3": replace(_CHATML, template_mark="enable_thinking"),
    "chatml": _CHATML,
    "plain": Family(bos="", system="{}\n\n", user="{}\n", assistant="", end="", between="\n"),
}


def detect_family(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the name of the family whose turn tokens the tokenizer knows; `plain` if none."""
    vocabulary, template = tokenizer.get_vocab(), str(tokenizer.chat_template)
    for name, family in FAMILIES.items():
        if family.mark in vocabulary and family.template_mark in template:
            return name
    return "plain"


def checked_tags(think_tokens: Sequence[str]) -> tuple[str, ...]:
    """Return the tags of a thought, opening and closing, or none.

    Raises:
        LightR1Error: There are not two of them, one is empty, or one holds the other: no text would tell them apart.
    """
    if len(think_tokens) not in (0, 2) or not all(think_tokens):
        raise LightR1Error(f"think_tokens: expected two tags or none, got {list(think_tokens)}.")
    if think_tokens and (think_tokens[0] in think_tokens[1] or think_tokens[1] in think_tokens[0]):
        raise LightR1Error(f"think_tokens: one of {list(think_tokens)} holds the other.")
    return tuple(think_tokens)


@dataclass(frozen=True, slots=True)
class Rendered:
    """One training sequence.

    Args:
        prompt_ids: The generation prompt, exactly as sampling uses it.
        completion_ids: What the model has to write after it, end token included.
        supervised_from: Index of the first supervised token. It lies inside the prompt when `<think>` is forced:
            the tag is then given at inference but trained all the same.
    """

    prompt_ids: list[int]
    completion_ids: list[int]
    supervised_from: int

    @property
    def input_ids(self) -> list[int]:
        """Prompt and completion."""
        return self.prompt_ids + self.completion_ids

    @property
    def labels(self) -> list[int]:
        """The input ids, with -100 where nothing is learnt."""
        return [IGNORE] * self.supervised_from + self.input_ids[self.supervised_from :]


class ChatFormat:
    """Renders problems, solutions and conversations for one tokenizer.

    Args:
        tokenizer: The model's tokenizer.
        template: A name of `FAMILIES`, or `auto` to go by the tokenizer's vocabulary.
        think_tokens: Opening and closing tag of the thought, or an empty sequence for models without one.
        force_think: End the generation prompt with the opening tag.
        system: System prompt; none if `None`.
        suffix: Text appended to every problem, such as a request for a boxed answer.

    Raises:
        LightR1Error: The template name is unknown, or a turn token is not in the vocabulary.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        template: str = "auto",
        think_tokens: Sequence[str] = THINK_TAGS,
        force_think: bool = True,
        system: str | None = None,
        suffix: str | None = None,
    ) -> None:
        name = detect_family(tokenizer) if template == "auto" else template
        if name not in FAMILIES:
            raise LightR1Error(
                f"chat.template: {name!r} is not one of {list(FAMILIES)}. {did_you_mean(name, FAMILIES)}"
            )
        self.tokenizer = tokenizer
        self.name = name
        self.family = FAMILIES[name]
        self.think_tokens = checked_tags(think_tokens)
        self.force_think = force_think and bool(think_tokens)
        self.system = system
        self.suffix = suffix or ""
        self.end_token_id = self._end_token_id()

    def _end_token_id(self) -> int:
        if not self.family.end:
            if self.tokenizer.eos_token_id is None:
                raise LightR1Error("chat.template plain: the tokenizer has no end-of-sequence token.")
            return int(self.tokenizer.eos_token_id)
        token_id = self.tokenizer.get_vocab().get(self.family.end)
        if token_id is None:
            raise LightR1Error(
                f"chat.template {self.name}: the tokenizer has no token {self.family.end!r}. Choose another template."
            )
        return int(token_id)

    @property
    def opening(self) -> str:
        """The opening tag with its newline, or an empty string for models without a thought."""
        return f"{self.think_tokens[0]}\n" if self.think_tokens else ""

    def encode(self, text: str) -> list[int]:
        """Tokenise without adding any token."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []

    def prompt_text(self, problem: str | Sequence[Mapping[str, str]]) -> str:
        """Return the generation prompt of a problem, or of a conversation that ends with a user turn."""
        return self._context(problem) + (self.opening if self.force_think else "")

    def prompt_ids(self, problem: str | Sequence[Mapping[str, str]]) -> list[int]:
        """Return the token ids of `prompt_text`."""
        return self.encode(self._context(problem)) + (self.encode(self.opening) if self.force_think else [])

    def fault(self, solution: str) -> str | None:
        """Return why a solution's thought cannot be trained (see `data_tools.traces.thoughts`), or `None`."""
        return split_think(solution, self.think_tokens).fault

    def solution_text(self, solution: str) -> tuple[str, str]:
        r"""Return opening and rest of a solution in canonical form (`<think>\n`, `thought\n</think>\n\nanswer`).

        A solution without a thought has an empty opening. Tags are recognised in every form that
        `data_tools.traces.thoughts.split_think` knows.

        Raises:
            DataError: The thought has no end, no answer, or more than one reading.
        """
        parts = split_think(solution, self.think_tokens)
        if parts.thought:
            return self.opening, f"{parts.thought}\n{self.think_tokens[1]}\n\n{parts.answer}"
        if parts.fault in (None, "no_think"):
            return "", solution.strip()
        raise DataError(f"the solution has the fault {parts.fault}: {solution[:80]!r}...")

    def render(self, problem: str | Sequence[Mapping[str, str]], solution: str) -> Rendered:
        """Render one training sequence; see the module docstring.

        A solution without a thought is rendered without the forced opening tag: it would otherwise teach the model
        to leave an opened thought at once.
        """
        context = self.encode(self._context(problem))
        opening_text, rest_text = self.solution_text(solution)
        opening = self.encode(opening_text)
        rest = [*self.encode(rest_text), self.end_token_id]
        if self.force_think:
            return Rendered(context + opening, rest, len(context))
        return Rendered(context, opening + rest, len(context))

    def completion_ids(self, solution: str) -> list[int]:
        """Return the ids that follow the generation prompt when the model answers with `solution`."""
        opening, rest = self.solution_text(solution)
        forced = self.force_think and opening
        return [*self.encode("" if forced else opening), *self.encode(rest), self.end_token_id]

    def response_ids(self, response: str) -> list[int]:
        """Return the ids of a model's response as it stands, faulty thoughts included: the inverse of `response_text`.

        What is to be trained goes through `completion_ids`; a rejected response must stay as it was sampled.
        """
        text = response.removeprefix(self.opening) if self.force_think else response
        return [*self.encode(text), self.end_token_id]

    def response_text(self, completion_ids: Sequence[int]) -> str:
        """Decode a sampled completion to the whole response, with the forced opening tag put back."""
        ids = list(completion_ids)
        while ids and ids[-1] in (
            self.end_token_id,
            self.tokenizer.pad_token_id,
            self.tokenizer.eos_token_id,
        ):
            ids.pop()
        text = self.tokenizer.decode(ids, skip_special_tokens=False)
        return (self.opening if self.force_think else "") + text

    def answer_text(self, response: str) -> str:
        """Return what stands behind the thought of a response; the whole response if no thought was closed."""
        answer = behind_thought(response, self.think_tokens)
        return response if answer is None else answer

    def _context(self, problem: str | Sequence[Mapping[str, str]]) -> str:
        turns = [{"role": "user", "content": problem}] if isinstance(problem, str) else list(problem)
        if not turns or turns[-1]["role"] != "user":
            raise DataError(f"a conversation to be answered must end with a user turn, got {turns[-1:]!r}")
        family = self.family
        text = family.bos
        if self.system is not None and turns[0]["role"] != "system":
            text += family.system.format(self.system)
        for index, turn in enumerate(turns):
            content = turn["content"] + (self.suffix if index == len(turns) - 1 else "")
            text += self._turn(turn["role"], content)
        return text + family.assistant

    def _turn(self, role: str, content: str) -> str:
        if role == "system":
            return self.family.system.format(content)
        if role == "user":
            return self.family.user.format(content)
        if role == "assistant":
            # Earlier reasoning is not part of the context at inference, so it is not part of it in training.
            end = self.family.end or self.tokenizer.eos_token
            return self.family.assistant + self.answer_text(content).strip() + end + self.family.between
        raise DataError(f"role {role!r} is not one of system, user, assistant. {did_you_mean(role, _ROLES)}")

    def jinja(self) -> str:
        """Return a Jinja chat template whose generation prompt is `prompt_text`, for inference engines."""
        family = self.family
        end = family.end or str(self.tokenizer.eos_token)
        close = json.dumps(self.think_tokens[1]) if self.think_tokens else None
        strip = f"m['content'].split({close})[-1] | trim" if close else "m['content'] | trim"
        system = family.system.format(self.system) if self.system is not None else ""
        pieces = [
            "{{- " + json.dumps(family.bos, ensure_ascii=False) + " }}",
            "{%- if messages[0]['role'] != 'system' %}{{- "
            + json.dumps(system, ensure_ascii=False)
            + " }}{%- endif %}",
            "{%- for m in messages %}",
            "{%- if m['role'] == 'system' %}" + _jinja_turn(family.system, "m['content']"),
            "{%- elif m['role'] == 'user' and loop.last %}"
            + _jinja_turn(family.user, f"m['content'] + {json.dumps(self.suffix, ensure_ascii=False)}"),
            "{%- elif m['role'] == 'user' %}" + _jinja_turn(family.user, "m['content']"),
            "{%- else %}" + _jinja_turn(family.assistant + "{}" + end + family.between, strip),
            "{%- endif %}{%- endfor %}",
            "{%- if add_generation_prompt %}{{- "
            + json.dumps(family.assistant + (self.opening if self.force_think else ""), ensure_ascii=False)
            + " }}{%- endif %}",
        ]
        return "".join(pieces)


_ROLES = ("system", "user", "assistant")


def _jinja_turn(pattern: str, content: str) -> str:
    before, after = (json.dumps(piece, ensure_ascii=False) for piece in pattern.split("{}"))
    return "{{- " + f"{before} + ({content}) + {after}" + " }}"


def chat_format(tokenizer: PreTrainedTokenizerBase, **options: Any) -> ChatFormat:
    """Build a `ChatFormat` and store its Jinja template in the tokenizer, so saved models answer as trained."""
    chat = ChatFormat(tokenizer, **options)
    tokenizer.chat_template = chat.jinja()
    return chat
