"""Tools from raw problem dumps to curriculum data, without an LLM and without torch.

A tool is one function from rows to rows (`data_tools.rows`); its signature is the command line, the keys of a
recipe's `data` step and the documentation.
"""

from __future__ import annotations

TOOLS: dict[str, str] = {
    "extract": "data_tools.extract:extract",
    "gradable": "data_tools.gradable:gradable",
    "dedup": "data_tools.dedup:dedup",
    "decontaminate": "data_tools.decontaminate:decontaminate",
    "difficulty": "data_tools.difficulty:difficulty",
    "segment": "data_tools.select:segment",
    "balance": "data_tools.select:balance",
    "perturb": "data_tools.perturb:perturb",
    "verify": "data_tools.verify_rows:verify_rows",
    "normalize_think": "data_tools.think:normalize_think",
    "convert": "data_tools.convert:convert",
    "filter_length": "data_tools.filters:filter_length",
    "filter_repetition": "data_tools.filters:filter_repetition",
    "filter_language": "data_tools.filters:filter_language",
    "stats": "data_tools.stats:stats",
}
