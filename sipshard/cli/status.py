"""``sipshard status``: how the running server is."""

from __future__ import annotations

import argparse
from typing import Any

from sipshard import config
from sipshard.cli import output
from sipshard.cli.verb import Verb
from sipshard.control.client import ask
from sipshard.control.protocol import StatusRequest
from sipshard.errors import ExitCode

_DESCRIPTION = """\
Shows the workers of the running server, what they use, what they have counted
and how the location is. Exits with 1 when no server is running."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --json."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    """Asks and prints. Raises NotRunningError."""
    configuration = config.load(config.locate(arguments.config))
    answer = ask(configuration.server.runtime_dir, StatusRequest())
    if arguments.json:
        output.print_json(answer)
    else:
        _print(answer)
    return ExitCode.STOPPED


def _print(answer: dict[str, Any]) -> None:
    output.print_fact("listen", ", ".join(answer["listen"]))
    output.print_fact("registrations", str(answer["registrations"]))
    location = answer["location"]
    parts = [location["state"], f"map {location['map_used_percent']:g} % used", location["error"]]
    shown = ", ".join(part for part in parts if part)
    output.print_fact("location", shown, is_alarming=location["state"] != "ok")
    print()
    output.print_table(
        ["shard", ">pid", ">gen", "state", ">uptime", ">rss", ">uss", ">cpu", ">fds", ">trans"],
        [_worker(worker) for worker in answer["workers"]],
    )
    counted = {name: value for name, value in answer["counters"].items() if value}
    if counted:
        print()
        rows = [[name, str(value)] for name, value in counted.items()]
        output.print_table(["counter", ">total"], rows)


def _worker(worker: dict[str, Any]) -> list[str]:
    return [
        str(worker["shard"]),
        str(worker["pid"]),
        str(worker["generation"]),
        worker["state"],
        output.duration(worker["uptime_s"]),
        output.mebibytes(worker["rss_bytes"]),
        output.mebibytes(worker["uss_bytes"]),
        f"{worker['cpu_s']:.1f} s",
        str(worker["descriptors"]),
        str(worker["transactions"]),
    ]


VERB = Verb("status", "show how the running server is", _DESCRIPTION, add_arguments, execute)
