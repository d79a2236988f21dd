"""``sipshard registrations``: who is registered, and where."""

from __future__ import annotations

import argparse
from typing import Any

from sipshard import config
from sipshard.cli import output
from sipshard.cli.verb import Verb
from sipshard.control.client import ask
from sipshard.control.protocol import DEFAULT_PAGE, RegistrationsRequest, RequestError
from sipshard.errors import ExitCode, SipshardError

_DESCRIPTION = """\
Shows the bindings of one address-of-record, or of all of them page by page.

  sipshard registrations alice@example.com
  sipshard registrations --limit 500 --after carol@example.com"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the address-of-record, paging and --json."""
    parser.add_argument("aor", nargs="?", metavar="AOR", help="as alice@example.com (default: all)")
    parser.add_argument(
        "--limit",
        type=int,
        default=DEFAULT_PAGE,
        metavar="N",
        help="show at most N addresses-of-record, up to 1000 (default: %(default)s)",
    )
    parser.add_argument("--after", metavar="AOR", help="begin behind this one, in key order")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    """Asks and prints. Raises NotRunningError."""
    try:
        request = RegistrationsRequest(arguments.aor, arguments.limit, arguments.after)
    except RequestError as error:
        raise SipshardError(str(error)) from None
    configuration = config.load(config.locate(arguments.config))
    answer = ask(configuration.server.runtime_dir, request)
    if arguments.json:
        output.print_json(answer)
    else:
        _print(answer)
    return ExitCode.STOPPED


def _print(answer: dict[str, Any]) -> None:
    rows = [
        [entry["aor"], binding["uri"], f"{binding['q']:g}", output.duration(binding["expires_s"])]
        for entry in answer["registrations"]
        for binding in entry["bindings"]
    ]
    if not rows:
        print("no registrations")
        return
    output.print_table(["aor", "contact", ">q", ">expires"], rows)
    if answer["next"] is not None:
        following = output.printable(answer["next"])
        print(f"more: sipshard registrations --after '{following}'")


VERB = Verb(
    "registrations", "show who is registered, and where", _DESCRIPTION, add_arguments, execute
)
