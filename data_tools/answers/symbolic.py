"""Whether an answer can be computed within the caps of the verifier, told before any prediction exists."""

from __future__ import annotations

from data_tools.maths.budget import TooLarge, renew_budget
from data_tools.maths.functions import Undefined
from data_tools.maths.grammar import MAX_CHARS, parse
from data_tools.maths.tokens import LatexError
from data_tools.maths.values import number


class Refused(ValueError):
    """The answer is over a cap; the message says which."""


def guard(cleaned: str) -> None:
    """Refuse an answer that the verifier could only ever compare as text because it is too long or too large.

    Raises:
        Refused: Always with the reason.
    """
    if len(cleaned) > MAX_CHARS:
        raise Refused(f"longer than {MAX_CHARS} characters")
    renew_budget()
    try:
        number(parse(cleaned).node)
    except TooLarge as error:
        raise Refused(str(error)) from error
    except LatexError as error:
        if "nested" in str(error) or "tokens" in str(error):
            raise Refused(str(error)) from error
    except Undefined:
        return
