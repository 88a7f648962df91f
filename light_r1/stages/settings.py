"""What of TRL's settings a stage refuses, told by file and line; `light_r1.trainers.settings` says what and why."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from light_r1.recipe.check.findings import Findings
from light_r1.recipe.spec import StageSpec
from light_r1.trainers.settings import RECIPE, Refusal, refused


def report_refused(
    spec: StageSpec, refusals: Sequence[Refusal], conflicts: Iterable[tuple[str, str]], findings: Findings
) -> None:
    """Report the args of a stage that are refused.

    Args:
        spec: The stage.
        refusals: What its trainer refuses.
        conflicts: What keeps settings from having their effect: the setting, and why.
        findings: Gets the problems.
    """
    for one in refused((*refusals, *RECIPE), spec.args):
        findings.at(f"{spec.name}.args.{one.field}", one.why, one.expected, one.hint)
    for name, why in conflicts:
        findings.at(f"{spec.name}.args.{name}", why)
