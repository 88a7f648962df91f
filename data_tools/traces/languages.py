"""Detect the language of a text: by script, and in Latin script by function words.

Maths, LaTeX commands, code, links and Greek letters say nothing and are left out, and so are Latin words of one or
two letters when scripts are compared: formulas are often written without dollar signs. A guess needs evidence:
fewer than three function words, or two languages with as many, leave a Latin text undetermined (`und`).
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

# Language -> the scripts that belong to it; Latin names and terms belong to all.
LANGUAGES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("de", "en", "es", "fr", "it", "nl", "pt", "tr", "vi"), ("latin",)),
    "ar": ("arabic", "latin"),
    "he": ("hebrew", "latin"),
    "hi": ("devanagari", "latin"),
    "ja": ("kana", "han", "latin"),
    "ko": ("hangul", "han", "latin"),
    "ru": ("cyrillic", "latin"),
    "th": ("thai", "latin"),
    "zh": ("han", "latin"),
}
_SCRIPTS = {
    "latin": "A-Za-z\u00c0-\u024f\u1e00-\u1eff",
    "cyrillic": "\u0400-\u04ff",
    "arabic": "\u0600-\u06ff",
    "hebrew": "\u0590-\u05ff",
    "devanagari": "\u0900-\u097f",
    "thai": "\u0e00-\u0e7f",
    "kana": "\u3040-\u30ff",
    "han": "\u3400-\u4dbf\u4e00-\u9fff",
    "hangul": "\u1100-\u11ff\uac00-\ud7af",
}
_BY_SCRIPT = {"cyrillic": "ru", "arabic": "ar", "hebrew": "he", "devanagari": "hi", "thai": "th", "hangul": "ko"}
_WORDS = {
    "en": "the of and to is in that are for with on as be this by an at from it which what how has have each if "
    "find let given where all many can one when then there such not so we he she his her they",
    "de": "der die das und ist den von zu mit ein eine einer dem des auf für im sich nicht werden wie sind wird "
    "durch bei aus man wenn so dass es hat welche bestimme alle gilt sei",
    "fr": "le la les de des et est un une du en que dans pour par sur au aux avec qui ce se il elle sont pas plus "
    "soit trouver combien tous tel on son ses",
    "es": "el la los las de del es un una en que por para con se su al lo como más son si cuántos cada todos sea "
    "entre tiene no está",
    "it": "il la le gli di del della è un una in che per con si su al lo come sono dei delle nel quanti ogni tutti "
    "sia non ha più dal",
    "pt": "os as de do da dos das é um uma em que por para com se no na ao como mais são quantos cada todos "
    "seja não tem entre",
    "nl": "de het een van en is in dat op te zijn met voor niet aan er om als bij ook hoeveel elke wat deze die door "
    "naar heeft alle",
    "tr": "ve bir bu için ile olan olarak kaç kaçtır her ne en de da göre ise olduğu sayı tane gibi daha kadar",
    "vi": "và của là có cho các một trong được với không những khi để từ bao nhiêu tìm số sao này thì đó",
}
_LANGUAGES_OF = {
    word: tuple(language for language, others in _WORDS.items() if word in others.split())
    for words in _WORDS.values()
    for word in words.split()
}
_SILENT = re.compile(
    "|".join(
        (
            r"\$\$.*?\$\$",
            r"\$(?:(?![A-Za-z]{3,}\s+[A-Za-z]{3,})[^$])*\$",  # not the words between two prices in dollars
            r"\\\[.*?\\\]",
            r"\\\(.*?\\\)",
            r"\[asy\].*?\[/asy\]",
            r"```.*?```",
            r"https?://\S+",
            r"\\(?:begin|end)\{.*?\}",
            r"\\[A-Za-z]+",
        )
    ),
    re.DOTALL,
)
_LETTERS = {script: re.compile(f"[{ranges}]") for script, ranges in _SCRIPTS.items()}
_LETTERS["latin"] = re.compile(f"(?<![{_SCRIPTS['latin']}])[{_SCRIPTS['latin']}]{{3,}}")
_LATIN_WORD = re.compile(f"[{_SCRIPTS['latin']}]+")
_LONGEST = 20_000  # characters of the start and of the end that are looked at for function words
_ENOUGH = 3
_LETTERS_PER_SIGN = {"han": 3, "kana": 2, "hangul": 3}  # about what an English word loses in translation


@dataclass(frozen=True, slots=True)
class Language:
    """What the letters of a text say.

    Args:
        code: The main language, a key of `LANGUAGES`; `und` if too little decides.
        scripts: Script -> share of the letters, without maths, LaTeX commands and Greek letters. A Chinese character
            or a Korean syllable counts as three letters, a Japanese kana as two.
    """

    code: str
    scripts: dict[str, float]


def read_language(value: str) -> Language:
    """Tell the language and the scripts of a text."""
    prose = _SILENT.sub(" ", value)
    counts = _script_counts(prose)
    total = counts.total()
    shares = {script: count / total for script, count in counts.most_common()}
    return Language(_language(prose, counts) if counts else "und", shares)


def _language(prose: str, counts: Counter[str]) -> str:
    if counts["kana"] + counts["han"] > counts.total() / 2:
        return "ja" if counts["kana"] > 0.1 * (counts["kana"] + counts["han"]) else "zh"
    script = counts.most_common(1)[0][0]
    return _latin_language(prose) if script == "latin" else _BY_SCRIPT[script]


def _script_counts(prose: str) -> Counter[str]:
    plain = prose.isascii()
    scripts = ("latin",) if plain else tuple(_SCRIPTS)
    return +Counter(
        {name: _LETTERS_PER_SIGN.get(name, 1) * len("".join(_LETTERS[name].findall(prose))) for name in scripts}
    )


def _latin_language(prose: str) -> str:
    """Return the language with the most function words; `und` if there are few, or two are close."""
    if len(prose) > 2 * _LONGEST:
        prose = prose[:_LONGEST] + prose[-_LONGEST:]
    scores = Counter(dict.fromkeys(_WORDS, 0))
    for word in _LATIN_WORD.findall(prose.lower()):
        for language in _LANGUAGES_OF.get(word, ()):
            scores[language] += 1
    (first, most), (_, next_most) = scores.most_common(2)
    return first if most >= _ENOUGH and most > next_most else "und"
