"""The `qkan` command."""

import argparse
import sys
from collections.abc import Sequence

from qkan import check, reproduce
from qkan.jobs import sweep, train
from qkan.report import command as report

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand and return the exit status.

    0: done. 1: a check failed. 2: an error of the user (told in one line). 130: Ctrl-C.

    Args:
        arguments: the words after `qkan`; by default those of the command line.
    """
    parser = argparse.ArgumentParser(prog="qkan", description="Kolmogorov-Arnold networks of single-qubit circuits.")
    commands = parser.add_subparsers(required=True, metavar="command")
    reproduce.add_command(commands)
    check.add_command(commands)
    report.add_command(commands)
    train.add_command(commands)
    sweep.add_command(commands)
    options = parser.parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except (ValueError, TypeError, OSError, ImportError, FloatingPointError) as error:
        print("qkan: " + " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("qkan: stopped", file=sys.stderr)
        return 130
