"""The filter tools: texts too short or long, stuck in a loop, or in another language.

Each looks at one column of one row and calls no model. Loops are what degenerate traces end in (the unanswerable
questions of MiP-Overthinking push them to 170,000 characters of the same sentences). Languages are told apart by
script, and in Latin script by function words, after maths and LaTeX are taken out: enough to separate English
problems from translations and to catch a trace that slides into Chinese, not enough to tell Danish from Norwegian.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, Literal

from data_tools.engine.execution import per_row
from data_tools.errors import DataToolsError
from data_tools.rows.columns import text
from data_tools.rows.row import Dropped, Row
from data_tools.traces.languages import LANGUAGES, read_language
from data_tools.traces.repetition import repeated_share

Unit = Literal["chars", "words", "tokens"]


def filter_length(
    rows: Iterable[Row],
    *,
    column: str = "solution",
    unit: Unit = "chars",
    min_length: int = 0,
    max_length: int | None = None,
    tokenizer: Path | None = None,
) -> Iterator[Row | Dropped]:
    """Keep rows whose text has a length within bounds.

    Adds `length`, the text's length in the unit.

    Args:
        rows: Rows with the column.
        column: The text that is measured.
        unit: `chars`, `words` (between blanks) or `tokens` (needs tokenizer).
        min_length: Shortest text kept.
        max_length: Longest text kept (Light-R1 cuts its SFT samples at 20,000 tokens); any length by default.
        tokenizer: A tokenizer.json, or the folder that holds it.

    Drops:
        too_short: Shorter than min_length.
        too_long: Longer than max_length.
    """
    if (unit == "tokens") != (tokenizer is not None):
        raise DataToolsError("tokenizer: needed for, and only for, the unit tokens")
    if max_length is not None and max_length < min_length:
        raise DataToolsError(f"max_length: expected {min_length} (min_length) or more, found {max_length}")
    options = {"column": column, "unit": unit, "min_length": min_length, "max_length": max_length}
    return per_row(check_length, rows, tokenizer=tokenizer, **options)


def check_length(
    row: Row, *, column: str, unit: Unit, min_length: int, max_length: int | None, tokenizer: Path | None
) -> Row | Dropped:
    """Add the length of a row's text, and drop the row if it is outside the bounds; see `filter_length`."""
    value = text(row, column)
    if tokenizer is not None:
        length = len(_tokenizer(tokenizer).encode(value, add_special_tokens=False).ids)
    else:
        length = len(value.split()) if unit == "words" else len(value)
    measured = {**row, "length": length}
    if length < min_length:
        return Dropped(measured, "too_short")
    return Dropped(measured, "too_long") if max_length is not None and length > max_length else measured


@cache
def _tokenizer(path: Path) -> Any:
    from tokenizers import Tokenizer

    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise DataToolsError(f"{file}: no such tokenizer file")
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # it raises nothing more special
        raise DataToolsError(f"{file}: not a readable tokenizer ({error})") from error


def filter_repetition(
    rows: Iterable[Row], *, column: str = "solution", ngram: int = 40, max_share: float = 0.2
) -> Iterator[Row | Dropped]:
    """Drop texts that are stuck in a loop: most of their n-grams have been there before.

    Adds `repeated_share`: 1 - distinct / all n-grams of pieces (a word, a digit, a sign, a CJK character).

    Args:
        rows: Rows with the column.
        column: The text that is looked at.
        ngram: Pieces per n-gram; 40 as in the repetition penalty of Yeo et al. (arXiv 2502.03373).
        max_share: Most repetition kept. Measured: loops of the missing-premise traces have more than .2,
            the 2,153 other long traces less than .13.

    Drops:
        repetition: The repeated share is above max_share.
    """
    if ngram < 1:
        raise DataToolsError(f"ngram: expected 1 or more, found {ngram}")
    return per_row(check_repetition, rows, column=column, ngram=ngram, max_share=max_share)


def check_repetition(row: Row, *, column: str, ngram: int, max_share: float) -> Row | Dropped:
    """Add the repeated share of a row's text, and drop the row if it loops; see `filter_repetition`."""
    share = repeated_share(text(row, column), ngram=ngram)
    measured = {**row, "repeated_share": round(share, 4)}
    return Dropped(measured, "repetition") if share > max_share else measured


def filter_language(
    rows: Iterable[Row],
    *,
    column: str = "problem",
    languages: list[str] = ["en"],  # noqa: B006  never changed
    max_other_script: float = 0.02,
    unsure: Literal["keep", "drop"] = "keep",
) -> Iterator[Row | Dropped]:
    """Keep texts in the given languages, and drop those that slide into another script.

    Adds `language`: a code such as `en`, or `und` where too few words decide (a text of formulas).

    Args:
        rows: Rows with the column.
        column: The text that is looked at.
        languages: Codes to keep: ar de en es fr he hi it ja ko nl pt ru th tr vi zh.
        max_other_script: Most letters in other scripts, as a share; Greek counts as maths.
        unsure: What happens to `und`.

    Drops:
        other_language: Another language.
        mixed_language: Too many letters in another script than that of the language.
        unsure_language: Too few words to tell (unsure drop).
    """
    if wrong := [code for code in languages if code not in LANGUAGES]:
        raise DataToolsError(f"languages: {', '.join(wrong)} unknown; expected some of {' '.join(sorted(LANGUAGES))}")
    options = {"column": column, "languages": languages, "max_other_script": max_other_script, "unsure": unsure}
    return per_row(check_language, rows, **options)


def check_language(
    row: Row, *, column: str, languages: list[str], max_other_script: float, unsure: Literal["keep", "drop"]
) -> Row | Dropped:
    """Add the language of a row's text, and drop the row if it is none of those kept; see `filter_language`."""
    read = read_language(text(row, column))
    language = read.code
    measured = {**row, "language": language}
    if language not in (*languages, "und"):
        return Dropped(measured, "other_language")
    own = ("latin",) if language == "und" else LANGUAGES[language]
    other = sum(share for script, share in read.scripts.items() if script not in own)
    if other > max_other_script:
        return Dropped(measured, "mixed_language", round(other, 4))
    return Dropped(measured, "unsure_language") if language == "und" and unsure == "drop" else measured
