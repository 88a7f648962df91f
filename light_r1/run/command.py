"""Arguments that `python -m light_r1.run` and `light-r1` share, and errors as text with exit codes."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from light_r1.errors import EXPLAINED, RecipeError

_EXAMPLES = """examples:
  python -m light_r1.run recipes/tiny.yaml                      the whole curriculum, on a laptop
  accelerate launch -m light_r1.run recipes/light_r1_32b.yaml --plan
  accelerate launch -m light_r1.run recipes/light_r1_32b.yaml --stage dpo --set dpo.args.beta=0.1
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
    add_recipe(parser)
    add_stages(parser)
    add_verify(parser)
    parser.add_argument("--plan", action="store_true", help="print what would run and what it takes, and run nothing")
    args = parser.parse_args(argv)
    args.processes = None
    return guarded(plan_command if args.plan else run_command, args)


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the recipe and `--set`."""
    parser.add_argument("recipe", help="a recipe file, or the name of a shipped one")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Add `--set KEY=VALUE`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change a value, by stage name: dpo.args.beta=0.1, model.name_or_path=...; may be repeated",
    )


def add_stages(parser: argparse.ArgumentParser) -> None:
    """Add `--stage` and `--from`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stage", metavar="NAME", help="this stage only; those it needs must be done")
    which.add_argument("--from", metavar="NAME", dest="start", help="this stage and those after it")


def add_verify(parser: argparse.ArgumentParser) -> None:
    """Add `--verify-outputs`."""
    parser.add_argument(
        "--verify-outputs",
        action="store_true",
        help="first compare every output of finished stages with its manifest, byte by byte",
    )


def run_command(args: argparse.Namespace) -> int:
    """Check a recipe and run it."""
    from light_r1.run.check import load_checked

    checked = load_checked(args.recipe, args.overrides, trust=True, only=args.stage, start=args.start)
    from light_r1.ranks import leave_ranks
    from light_r1.run.walk import run_recipe

    run_recipe(checked.recipe, only=args.stage, start=args.start, verify_outputs=args.verify_outputs)
    leave_ranks()
    return 0


def plan_command(args: argparse.Namespace) -> int:
    """Check a recipe and print its plan."""
    from light_r1.run.check import load_checked
    from light_r1.run.plan_text import plan_text

    which = {"only": args.stage, "start": args.start}
    checked = load_checked(args.recipe, args.overrides, world_size=args.processes, **which)
    text = plan_text(checked.recipe, notes=checked.notes, processes=args.processes, **which)
    if _is_main():
        print(text)
    return 0


def guarded(function: Command, args: argparse.Namespace) -> int:
    """Call the function; explain our own errors without a traceback, faults of a recipe on rank 0 only."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        return function(args)
    except RecipeError as error:
        if _is_main():
            print(error, file=sys.stderr)
        return 2
    except EXPLAINED as error:
        rank = "" if _is_main() else f"[rank {os.environ['RANK']}] "
        print(f"{rank}{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        # Whoever read our output (`| head`) has gone; keep the interpreter from writing to it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        from light_r1.run.failures import disk_trouble

        trouble = disk_trouble(error, Path.cwd())
        if not trouble:
            raise
        print(trouble, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _is_main() -> bool:
    return os.environ.get("RANK", "0") == "0"
