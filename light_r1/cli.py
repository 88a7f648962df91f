"""The command line: argv to one function call each, and errors as text instead of tracebacks.

Nothing heavy is imported before a recipe has passed its check. Exit codes: 0 done, 1 stopped with an error that was
explained, 2 the recipe or the command line has faults, 130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from light_r1.errors import LightR1Error, Problem, RecipeError
from light_r1.run.command import (
    Command,
    add_overrides,
    add_recipe,
    add_stages,
    add_verify,
    guarded,
    plan_command,
    run_command,
)

_COMMANDS = """examples:
  light-r1 new my_run --from light_r1_7b_ds                     a recipe of your own, to edit
  light-r1 check my_run.yaml                                    every fault of the recipe and its data, at once
  light-r1 plan my_run.yaml --processes 8                       what would run, and what it takes
  light-r1 launch my_run.yaml --config zero3                    every stage in processes of its own
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Dispatch `light-r1 <command>`; returns the exit code."""
    args = _parser().parse_args(argv)
    # As `python -m light_r1.run` has it, so that both find the rewards, generators and stages of a project.
    sys.path.insert(0, os.getcwd())
    function: Command = args.function
    return guarded(function, args)


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

    run = command("run", run_command, "run a recipe in this process")
    plan = command("plan", plan_command, "print what a recipe would run, what is done, and what it takes")
    launch = command("launch", _launch, "run a recipe with each stage in processes of its own")
    for added in (run, plan, launch):
        add_recipe(added)
        add_stages(added)
    for added in (run, launch):
        add_verify(added)
    for added in (plan, launch):
        added.add_argument("--processes", type=_count, metavar="N", help="number of processes (GPUs)")
    launch.add_argument("--config", metavar="NAME", help="accelerate config: ddp, zero2, zero3, fsdp, or a file")
    check = command("check", _check, "check recipes and the first rows of their data")
    check.add_argument("recipes", nargs="+", metavar="recipe", help="a recipe file, or the name of a shipped one")
    check.add_argument(
        "--trust", action="store_true", help="import stage types of your own and ask their own checks too"
    )
    add_overrides(check)
    command("schema", _schema, "print the JSON Schema of recipes, for editors")
    report = command("report", _report, "write the report of a run folder again, and print it")
    report.add_argument("run", help="a run folder, such as runs/tiny")
    export = command("export", _export, "write the model of a stage as a whole one, an adapter merged into its base")
    export.add_argument("source", help="a finished stage, such as runs/tiny/dpo, or a model folder")
    export.add_argument("to", help="folder to write")
    export.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), help="type of the weights")
    new = command("new", _new, "start a recipe of your own from a shipped one")
    new.add_argument("name", help="file to write; its stem is the name of the recipe")
    new.add_argument("--from", dest="source", default="tiny", metavar="RECIPE", help="where to start (default: tiny)")
    new.add_argument("--extend", action="store_true", help="write a few lines that extend it, instead of a copy")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of processes")
    return number


def _launch(args: argparse.Namespace) -> int:
    from light_r1.run.check import load_checked
    from light_r1.run.launch import config_processes, launch, stage_commands
    from light_r1.run.verify import verify_outputs

    processes = args.processes or (config_processes(args.config) if args.config else None)
    which = {"only": args.stage, "start": args.start}
    recipe = load_checked(args.recipe, args.overrides, world_size=processes, **which).recipe
    if args.verify_outputs:
        verify_outputs(recipe)
    return launch(
        stage_commands(
            recipe,
            config=args.config,
            processes=args.processes,
            overrides=args.overrides,
            **which,
        )
    )


def _check(args: argparse.Namespace) -> int:
    from light_r1.run.check import load_checked

    problems: list[Problem] = []
    for recipe in args.recipes:
        try:
            checked = load_checked(recipe, args.overrides, trust=args.trust)
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
    from light_r1.recipe.schema import recipe_schema

    print(json.dumps(recipe_schema(), indent=2))
    return 0


def _report(args: argparse.Namespace) -> int:
    from light_r1.report.write import write_report

    folder = Path(args.run)
    if not folder.is_dir():
        raise LightR1Error(f"{folder} is no run folder; they lie below the recipe's output_dir, as runs/<name>")
    write_report(folder)
    print((folder / "report.md").read_text(encoding="utf-8"))
    return 0


def _export(args: argparse.Namespace) -> int:
    from light_r1.ranks import Ranks
    from light_r1.run.console import console
    from light_r1.run.export import export

    with console(Ranks()):
        print(export(args.source, args.to, dtype=args.dtype))
    return 0


def _new(args: argparse.Namespace) -> int:
    from light_r1.recipe.new import new_recipe

    target, *copied = new_recipe(args.name, source=args.source, extend=args.extend)
    data = f", and beside it {', '.join(map(str, copied))}" if copied else ""
    print(f"{target} written{data}. Edit it, then: light-r1 plan {target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
