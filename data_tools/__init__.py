"""Tools from raw problem dumps to curriculum data, without an LLM and without torch.

A tool is one function from rows to rows, listed in `TOOLS`; its signature is the command line, the keys of a recipe's
`data` step and the documentation. Public names are loaded when first used, so that `import data_tools` stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "DataToolsError": "data_tools.errors",
    "Dropped": "data_tools.rows.row",
    "RolloutStore": "data_tools.rollouts.store",
    "StopRule": "data_tools.rollouts.adaptive",
    "TOOLS": "data_tools.engine.catalogue",
    "Verdict": "data_tools.answers.verify",
    "VerifierPool": "data_tools.answers.verifier_pool",
    "Window": "data_tools.rollouts.pass_rates",
    "canonical_rows": "data_tools.engine.run_tool",
    "extract_answer": "data_tools.solutions.final_answer",
    "fold": "data_tools.engine.fold",
    "per_row": "data_tools.engine.execution",
    "read_rows": "data_tools.rows.files",
    "run_tool": "data_tools.engine.run_tool",
    "sample_until_settled": "data_tools.rollouts.adaptive",
    "shard": "data_tools.tools.dedup",
    "verify": "data_tools.answers.verify",
    "why_ungradable": "data_tools.answers.gradable",
    "write_rows": "data_tools.rows.files",
}

__all__ = [*_PUBLIC]

if TYPE_CHECKING:
    from data_tools.answers.gradable import why_ungradable
    from data_tools.answers.verifier_pool import VerifierPool
    from data_tools.answers.verify import Verdict, verify
    from data_tools.engine.catalogue import TOOLS
    from data_tools.engine.execution import per_row
    from data_tools.engine.fold import fold
    from data_tools.engine.run_tool import canonical_rows, run_tool
    from data_tools.errors import DataToolsError
    from data_tools.rollouts.adaptive import StopRule, sample_until_settled
    from data_tools.rollouts.pass_rates import Window
    from data_tools.rollouts.store import RolloutStore
    from data_tools.rows.files import read_rows, write_rows
    from data_tools.rows.row import Dropped
    from data_tools.solutions.final_answer import extract_answer
    from data_tools.tools.dedup import shard


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'data_tools' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
