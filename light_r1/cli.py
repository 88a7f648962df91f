"""The command line: argv to one function call each, and errors as text instead of tracebacks.

Nothing heavy is imported before a recipe has passed its check. Exit codes: 0 done, 1 stopped with an error that was
explained, 2 the recipe or the command line has faults, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from light_r1.errors import LightR1Error, Problem, RecipeError, did_you_mean

if TYPE_CHECKING:
    from light_r1.specs import Recipe

_EXAMPLES = """examples:
  python -m light_r1.run recipes/tiny.yaml                      the whole curriculum, on a laptop
  accelerate launch -m light_r1.run recipes/light_r1_32b.yaml --plan
  accelerate launch -m light_r1.run recipes/light_r1_32b.yaml --stage dpo --set dpo.args.beta=0.1
"""
_COMMANDS = """examples:
  light-r1 new my_run --from light_r1_7b_ds                     a recipe of your own, to edit
  light-r1 check my_run.yaml                                    every fault of the recipe and its data, at once
  light-r1 plan my_run.yaml --processes 8                       what would run, and what it takes
  light-r1 launch my_run.yaml --config zero3                    every stage in processes of its own
"""

Command = Callable[[argparse.Namespace], int]


def run_main(argv: Sequence[str]) -> int:
    """Run, or plan, a recipe: what `python -m light_r1.run` does.

    Returns:
        The exit code: 0, or 2 if the recipe has faults, or 1 if a stage stopped with an error that was explained.
    """
    parser = argparse.ArgumentParser(
        prog="python -m light_r1.run",
        description="Run a recipe's stages. Finished ones are skipped, one that was cut off goes on, changed ones and "
        "what follows them run again.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_recipe(parser)
    _add_stages(parser)
    parser.add_argument("--plan", action="store_true", help="print what would run and what it takes, and run nothing")
    args = parser.parse_args(argv)
    args.processes = None
    return _guarded(_plan if args.plan else _run, args)


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch `light-r1 <command>`; returns the exit code."""
    args = _parser().parse_args(argv)
    # As `python -m light_r1.run` has it, so that both find the rewards, generators and stages of a project.
    sys.path.insert(0, os.getcwd())
    function: Command = args.function
    return _guarded(function, args)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="light-r1",
        description="Curriculum training of long chain-of-thought models.",
        epilog=_COMMANDS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")

    def command(name: str, function: Command, help_text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_text, description=f"{help_text[0].upper()}{help_text[1:]}.")
        added.set_defaults(function=function)
        return added

    run = command("run", _run, "run a recipe in this process")
    plan = command("plan", _plan, "print what a recipe would run, what is done, and what it takes")
    launch = command("launch", _launch, "run a recipe with each stage in processes of its own")
    for added in (run, plan, launch):
        _add_recipe(added)
        _add_stages(added)
    for added in (plan, launch):
        added.add_argument("--processes", type=_count, metavar="N", help="number of processes (GPUs)")
    launch.add_argument("--config", metavar="NAME", help="accelerate config: ddp, zero2, zero3, fsdp, or a file")
    check = command("check", _check, "check recipes and the first rows of their data")
    check.add_argument("recipes", nargs="+", metavar="recipe", help="a recipe file, or the name of a shipped one")
    _add_overrides(check)
    command("schema", _schema, "print the JSON Schema of recipes, for editors")
    report = command("report", _report, "write the report of a run folder again, and print it")
    report.add_argument("run", help="a run folder, such as runs/tiny")
    new = command("new", _new, "start a recipe of your own from a shipped one")
    new.add_argument("name", help="file to write; its stem is the name of the recipe")
    new.add_argument("--from", dest="source", default="tiny", metavar="RECIPE", help="where to start (default: tiny)")
    new.add_argument("--extend", action="store_true", help="write a few lines that extend it, instead of a copy")
    return parser


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a recipe file, or the name of a shipped one")
    _add_overrides(parser)


def _add_overrides(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change a value, by stage name: dpo.args.beta=0.1, model.name_or_path=...; may be repeated",
    )


def _add_stages(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stage", metavar="NAME", help="this stage only; those it needs must be done")
    which.add_argument("--from", metavar="NAME", dest="start", help="this stage and those after it")


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of processes")
    return number


def _check_names(recipe: Recipe, args: argparse.Namespace) -> None:
    """Refuse a stage that the recipe does not have."""
    names = [stage.name for stage in recipe.stages]
    for option, name in (("--stage", args.stage), ("--from", args.start)):
        if name is not None and name not in names:
            known = f"one of {', '.join(names)}"
            raise RecipeError([Problem(f"{option} {name}", "no such stage", known, did_you_mean(name, names))])


def _run(args: argparse.Namespace) -> int:
    from light_r1.check import load_checked

    checked = load_checked(args.recipe, args.overrides)
    _check_names(checked.recipe, args)
    from light_r1.ranks import leave_ranks
    from light_r1.run import run_recipe

    run_recipe(checked.recipe, only=args.stage, start=args.start)
    leave_ranks()
    return 0


def _plan(args: argparse.Namespace) -> int:
    from light_r1.check import load_checked
    from light_r1.plan import plan_text

    checked = load_checked(args.recipe, args.overrides, world_size=args.processes)
    _check_names(checked.recipe, args)
    text = plan_text(checked.recipe, notes=checked.notes, only=args.stage, start=args.start, processes=args.processes)
    if _is_main():
        print(text)
    return 0


def _launch(args: argparse.Namespace) -> int:
    from light_r1.check import load_checked
    from light_r1.launch import launch, stage_commands

    recipe = load_checked(args.recipe, args.overrides, world_size=args.processes).recipe
    _check_names(recipe, args)
    return launch(
        stage_commands(
            recipe,
            config=args.config,
            processes=args.processes,
            overrides=args.overrides,
            only=args.stage,
            start=args.start,
        )
    )


def _check(args: argparse.Namespace) -> int:
    from light_r1.check import load_checked

    problems: list[Problem] = []
    for recipe in args.recipes:
        try:
            checked = load_checked(recipe, args.overrides)
        except RecipeError as error:
            problems += error.problems
            continue
        print(f"{recipe}: {len(checked.recipe.stages)} stages, no problems")
        for note in checked.notes:
            print(f"  note: {note}")
    if problems:
        raise RecipeError(problems)
    return 0


def _schema(args: argparse.Namespace) -> int:
    from light_r1.schema import recipe_schema

    print(json.dumps(recipe_schema(), indent=2))
    return 0


def _report(args: argparse.Namespace) -> int:
    from light_r1.report import write_report

    folder = Path(args.run)
    if not folder.is_dir():
        raise LightR1Error(f"{folder} is no run folder; they lie below the recipe's output_dir, as runs/<name>")
    write_report(folder)
    print((folder / "report.md").read_text(encoding="utf-8"))
    return 0


def _new(args: argparse.Namespace) -> int:
    from light_r1.new import new_recipe

    target, *copied = new_recipe(args.name, source=args.source, extend=args.extend)
    data = f", and beside it {', '.join(map(str, copied))}" if copied else ""
    print(f"{target} written{data}. Edit it, then: light-r1 plan {target}")
    return 0


def _guarded(function: Command, args: argparse.Namespace) -> int:
    """Call the function; explain our own errors without a traceback, faults of a recipe on rank 0 only."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return function(args)
    except RecipeError as error:
        if _is_main():
            print(error, file=sys.stderr)
        return 2
    except LightR1Error as error:
        rank = "" if _is_main() else f"[rank {os.environ['RANK']}] "
        print(f"{rank}{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output (`| head`) has gone; keep the interpreter from writing to it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from light_r1.failures import disk_trouble

        told = disk_trouble(error, Path.cwd())
        if not told:
            raise
        print(told, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"
