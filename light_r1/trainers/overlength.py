"""Report of rows lost to `max_length`, with the lengths that would keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def drop_report(name: str, reasons: Mapping[str, int], lengths: Sequence[int], max_length: int | None) -> str:
    """Explain to a person why too many rows would be lost, and what length would keep most of them.

    Args:
        name: Of the data set.
        reasons: How many rows would be lost for which reason.
        lengths: Of every row in tokens; 0 for rows that were lost before they had a length.
        max_length: The limit.
    """
    lines = [
        f"{name} dataset: {sum(reasons.values())} of {len(lengths)} rows would be lost "
        f"({', '.join(f'{count} {reason}' for reason, count in sorted(reasons.items()))}), "
        "more than max_drop_rate allows."
    ]
    if reasons.get("no_think"):
        lines.append("missing_think='keep' trains solutions without a thought as they are.")
    ordered = sorted(length for length in lengths if length)
    if not reasons.get("overlength") or not ordered:
        return "\n".join(lines)
    total = len(ordered)
    lines.append(f"max_length is {max_length}; the rows' lengths in tokens:")
    low = 0
    for edge in [1 << power for power in range(4, 31) if 1 << power < 2 * ordered[-1]]:
        count = sum(low < length <= edge for length in ordered)
        if count:
            lines.append(f"  {low + 1:>8} to {edge:>8}: {count:>8} {'#' * max(1, 40 * count // total)}")
        low = edge
    for share in (0.95, 0.99):
        lines.append(f"  max_length={ordered[min(total - 1, int(share * total))]} keeps {share:.0%} of the rows")
    return "\n".join(lines)
