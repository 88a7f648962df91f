"""Run a recipe and die by SIGKILL in one stage: `python -m tests.killed_run RECIPE STAGE [KEY=VALUE ...]`.

The blow comes at a place that every such stage passes: a training step behind the first checkpoint, the second
appended group of rollouts, or the moment before a merge is declared done.
"""

from __future__ import annotations

import os
import signal
import sys


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(stage: str) -> None:
    from data_tools.rollouts.store import RolloutStore
    from light_r1.run.walk import Run
    from light_r1.stages.training import TrainingBar

    current = []
    execute, finish = Run.execute, Run._finish
    step_end, append = TrainingBar.on_step_end, RolloutStore.append
    appended = []

    def executing(self, planned):
        current[:] = [planned.spec.name]
        return execute(self, planned)

    def finishing(self, planned, *args, **kwargs):
        if planned.spec.name == stage:
            die()
        return finish(self, planned, *args, **kwargs)

    def stepping(self, args, state, control, **kwargs):
        if current == [stage] and any(os.scandir(args.output_dir)) and state.global_step > args.save_steps:
            die()
        return step_end(self, args, state, control, **kwargs)

    def appending(self, records):
        result = append(self, records)
        appended.append(current[0])
        if appended.count(stage) == 2:
            die()
        return result

    Run.execute, Run._finish = executing, finishing
    TrainingBar.on_step_end, RolloutStore.append = stepping, appending


if __name__ == "__main__":
    recipe, stage, *overrides = sys.argv[1:]
    arm(stage)
    from light_r1.run.walk import run_recipe

    run_recipe(recipe, overrides=overrides)
