"""Languages by script and function words; formulas never decide."""

from __future__ import annotations

from collections import Counter

import pytest

from data_tools.rows.files import read_rows
from data_tools.traces.languages import LANGUAGES, read_language
from tests.shared import shared_file

SENTENCES = {
    "en": "Find the number of integers that are less than 100 and divisible by 7.",
    "de": "Bestimme alle natürlichen Zahlen, die durch 7 teilbar sind und nicht mit einer Null enden.",
    "fr": "Trouver tous les entiers qui sont divisibles par 7 et dont la somme des chiffres est paire.",
    "es": "Hallar todos los números enteros que son divisibles por 7 y la suma de sus cifras.",
    "it": "Trovare tutti i numeri interi che sono divisibili per 7 e la somma delle cifre.",
    "pt": "Encontre todos os números inteiros que são divisíveis por 7 e não são pares.",
    "nl": "Bepaal alle gehele getallen die deelbaar zijn door 7 en niet op een nul eindigen.",
    "tr": "Buna göre bu sayı ile kaç farklı üçgen çizilebilir ve her biri için alan kaçtır?",
    "vi": "Tìm tất cả các số nguyên không chia hết cho 7 và có tổng các chữ số là một số chẵn.",
    "ru": "Найдите все целые числа, которые делятся на 7.",
    "ar": "أوجد جميع الأعداد الصحيحة التي تقبل القسمة على 7.",
    "he": "מצאו את כל המספרים השלמים המתחלקים ב-7.",
    "hi": "वे सभी पूर्णांक ज्ञात कीजिए जो 7 से विभाज्य हैं।",
    "th": "จงหาจำนวนเต็มทั้งหมดที่หารด้วย 7 ลงตัว",
    "ja": "7で割り切れるすべての整数を求めなさい。",
    "ko": "7로 나누어떨어지는 모든 정수를 구하시오.",
    "zh": "求所有能被7整除的整数的个数。",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_sentence_of_each_language_is_told(language):
    assert read_language(SENTENCES[language]).code == language


@pytest.mark.parametrize(
    ("value", "language"),
    [
        ("", "und"),
        ("$\\sqrt{8}+\\sqrt{18}=$", "und"),
        ("a + b = e, a y e o x", "und"),
        ("\\begin{align*} de la &= que \\end{align*}", "und"),
        ("α β γ δ", "und"),
        ("求最大的正整数 n，使得 x_1, x_2, \\ds{k=0}{n} \\sin abc = 2022", "zh"),
        ("A pen costs $1.20 and the eraser costs $3. What is the price of both?", "en"),
    ],
)
def test_formulas_and_money_do_not_decide(value, language):
    assert read_language(value).code == language


def test_shares_count_prose_alone():
    assert read_language("$x + \\text{da}$ \\alpha αβγ").scripts == {}
    shares = read_language("therefore the answer 所以答案").scripts
    assert shares == {"latin": pytest.approx(18 / 30), "han": pytest.approx(12 / 30)}


def test_no_english_benchmark_is_taken_for_another_language():
    for name in ("aime24", "aime25", "gsm8k_test", "math500", "omni_math_rule_2819", "olympiadbench_675"):
        rows = read_rows(shared_file(f"data/problems/{name}.jsonl.gz"))
        assert set(Counter(read_language(row["problem"]).code for row in rows)) <= {"en", "und"}, name
