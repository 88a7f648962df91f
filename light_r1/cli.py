"""The command line: argv to one function call each, and errors as text instead of tracebacks.

Nothing heavy is imported before a recipe has passed its check.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from light_r1.errors import LightR1Error, RecipeError

_EXAMPLES = """examples:
  python -m light_r1.run recipes/tiny.yaml                      the whole curriculum, on a laptop
  accelerate launch -m light_r1.run recipes/light_r1_32b.yaml --plan
  accelerate launch -m light_r1.run recipes/light_r1_7b_ds.yaml --stage dpo --set dpo.args.beta=0.1
"""


def run_main(argv: Sequence[str]) -> int:
    """Run, or plan, a recipe: what `python -m light_r1.run` does.

    Returns:
        0, or 2 if the recipe has faults, or 1 if a stage stopped with an error that was explained.
    """
    parser = argparse.ArgumentParser(
        prog="python -m light_r1.run",
        description="Run a recipe's stages. Finished ones are skipped, one that was cut off goes on, changed ones and "
        "what follows them run again.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_run_arguments(parser)
    return _guarded(parser.parse_args(argv), _run)


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a run."""
    _add_recipe(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stage", metavar="NAME", help="run this stage only; those it needs must be done")
    which.add_argument("--from", metavar="NAME", dest="start", help="run this stage and those after it")
    parser.add_argument("--plan", action="store_true", help="print what would run and what it takes, and run nothing")


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", help="a recipe file, or the name of a shipped one")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change a value, by stage name: dpo.args.beta=0.1, model.name_or_path=...; may be repeated",
    )


def _run(args: argparse.Namespace) -> int:
    if args.plan:
        return _plan(args)
    from light_r1.check import load_checked

    checked = load_checked(args.recipe, args.overrides)
    from light_r1.run import run_recipe

    run_recipe(checked.recipe, only=args.stage, start=args.start)
    return 0


def _plan(args: argparse.Namespace) -> int:
    from light_r1.check import load_checked
    from light_r1.plan import plan_text

    checked = load_checked(args.recipe, args.overrides)
    if _is_main():
        print(plan_text(checked.recipe, notes=checked.notes, only=args.stage, start=args.start))
    return 0


def _check(args: argparse.Namespace) -> int:
    from light_r1.check import load_checked

    for recipe in args.recipes:
        checked = load_checked(recipe, args.overrides)
        print(f"{recipe}: {len(checked.recipe.stages)} stages, no problems")
        for note in checked.notes:
            print(f"  note: {note}")
    return 0


def _schema(args: argparse.Namespace) -> int:
    from light_r1.schema import recipe_schema

    print(json.dumps(recipe_schema(), indent=2))
    return 0


def _report(args: argparse.Namespace) -> int:
    from light_r1.report import write_report

    write_report(Path(args.run))
    print(Path(args.run, "report.md").read_text(encoding="utf-8"))
    return 0


def _new(args: argparse.Namespace) -> int:
    from light_r1.layers import find_recipe, shipped_recipes

    source = find_recipe(args.source)
    if not source.is_file():
        known = ", ".join(sorted(path.stem for path in shipped_recipes().glob("*.yaml")))
        raise LightR1Error(f"no recipe {args.source!r}; the shipped ones are {known}")
    target = Path(args.name if args.name.endswith((".yaml", ".yml")) else f"{args.name}.yaml")
    if target.exists():
        raise LightR1Error(f"{target} exists already")
    target.write_text(
        f"# Everything not said here is as in {source.stem}: `light-r1 plan {target}` shows the result.\n"
        f"name: {target.stem}\nextends: {source.name}\n\nmodel:\n  name_or_path: your/model\n",
        encoding="utf-8",
    )
    print(f"{target} written; edit it, then: light-r1 plan {target}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch `light-r1 <command>`."""
    parser = argparse.ArgumentParser(
        prog="light-r1",
        description="Curriculum training of long chain-of-thought models.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    run = commands.add_parser("run", help="run a recipe")
    add_run_arguments(run)
    run.set_defaults(function=_run)
    plan = commands.add_parser("plan", help="print what a recipe would run, what is done, and what it takes")
    add_run_arguments(plan)
    plan.set_defaults(function=_plan)
    check = commands.add_parser("check", help="check recipes and the first rows of their data")
    check.add_argument("recipes", nargs="+")
    check.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    check.set_defaults(function=_check)
    schema = commands.add_parser("schema", help="print the JSON Schema of recipes, for editors")
    schema.set_defaults(function=_schema)
    report = commands.add_parser("report", help="write the report of a run folder again")
    report.add_argument("run", help="a run folder, such as runs/tiny")
    report.set_defaults(function=_report)
    new = commands.add_parser("new", help="start a recipe of your own from a shipped one")
    new.add_argument("name", help="file to write")
    new.add_argument("--from", dest="source", default="tiny", help="the recipe to extend")
    new.set_defaults(function=_new)
    args = parser.parse_args(argv)
    return _guarded(args, args.function)


def _guarded(args: argparse.Namespace, function: object) -> int:
    """Call the function; explain our own errors, on rank 0 only, without a traceback."""
    assert callable(function)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return int(function(args))
    except RecipeError as error:
        if _is_main():
            print(error, file=sys.stderr)
        return 2
    except LightR1Error as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where it stopped", file=sys.stderr)
        return 130


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"
