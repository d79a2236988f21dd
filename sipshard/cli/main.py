"""Reads the command line, runs the verb, turns errors into words and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from sipshard.cli import check, output, registrations, run, status
from sipshard.cli.verb import Verb
from sipshard.errors import ConfigurationError, ExitCode, SipshardError

_DESCRIPTION = """\
SIP registrar and proxy for bare metal: one worker per CPU, and nothing lost
when one of them dies."""

_EPILOGUE = """\
exit codes:
  0  done, or stopped in order      3  a worker cannot boot
  1  failed, or not running         4  the policy cannot be loaded
  2  configuration or usage         5  an address is in use

Try "sipshard check", then "sipshard run", and "sipshard status" beside it."""


VERBS = (run.VERB, check.VERB, status.VERB, registrations.VERB)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit code; only a wrong command line raises SystemExit."""
    parsed = _parser().parse_args(arguments)
    try:
        return _execute(parsed)
    except BrokenPipeError:
        # Whoever read our output has seen enough ("sipshard registrations | head").
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.STOPPED
    except KeyboardInterrupt:
        return ExitCode.FAILED


def _execute(parsed: argparse.Namespace) -> int:
    verb: Verb = parsed.verb
    try:
        return verb.execute(parsed)
    except SipshardError as error:
        _explain(error, as_json=getattr(parsed, "json", False))
        return error.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sipshard",
        description=_DESCRIPTION,
        epilog=_EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for verb in VERBS:
        verb_parser = verbs.add_parser(
            verb.name,
            help=verb.summary,
            description=verb.description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        verb_parser.add_argument(
            "-c",
            "--config",
            type=Path,
            metavar="FILE",
            help="configuration (default: ./sipshard.toml, then /etc/sipshard/sipshard.toml)",
        )
        verb.add_arguments(verb_parser)
        verb_parser.set_defaults(verb=verb)
    return parser


def _explain(error: SipshardError, *, as_json: bool) -> None:
    if as_json:
        output.print_json({"error": str(error), "exit_code": error.exit_code, **_problems(error)})
    else:
        text = output.printable(str(error), keep="\n")
        print(f"sipshard: {text}", file=sys.stderr)


def _problems(error: SipshardError) -> dict[str, object]:
    if not isinstance(error, ConfigurationError):
        return {}
    return {
        "problems": [
            {
                "file": str(problem.file),
                "line": problem.line,
                "key": problem.key,
                "problem": problem.problem,
                "remedy": problem.remedy,
            }
            for problem in error.problems
        ]
    }
