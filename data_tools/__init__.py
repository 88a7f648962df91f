"""Tools from raw problem dumps to curriculum data, without an LLM and without torch.

A tool is one function from rows to rows (`data_tools.rows.files`); its signature is the command line, the keys of a
recipe's `data` step and the documentation.
"""

from __future__ import annotations
