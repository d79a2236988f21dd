"""``sipshard check``: whether the configuration and the policy would start."""

from __future__ import annotations

import argparse

from sipshard import config
from sipshard.cli import output
from sipshard.cli.verb import Verb
from sipshard.config import Configuration
from sipshard.errors import ExitCode

_DESCRIPTION = """\
Reads the configuration and the certificates and imports the policy as the
server would, without opening a socket. Prints everything that is wrong, with
file, line and remedy.

Exits with 2 for the configuration, 3 for a certificate, 4 for the policy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds --json."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    """Checks. Raises ConfigurationError or PolicyError."""
    path = config.locate(arguments.config)
    configuration = config.load(path)
    if configuration.server.policy is not None:
        from sipshard.policy import loader

        loader.load(configuration.server.policy)
    _check_certificates(configuration)
    if arguments.json:
        output.print_json({"file": str(path), "problems": [], **_summary(configuration)})
        return ExitCode.STOPPED
    for name, value in _summary(configuration).items():
        shown = ", ".join(value) if isinstance(value, list) else str(value)
        output.print_fact(name, shown or "none")
    print(f"{path}: ok")
    return ExitCode.STOPPED


def _check_certificates(configuration: Configuration) -> None:
    from sipshard.workers import certificates

    certificates.read(configuration)


def _summary(configuration: Configuration) -> dict[str, object]:
    server = configuration.server
    return {
        "listen": [str(address) for address in server.listen],
        "workers": server.worker_count,
        "domains": list(server.domains),
        "policy": str(server.policy or "built-in"),
        "location": str(configuration.location.path),
    }


VERB = Verb("check", "check the configuration and the policy", _DESCRIPTION, add_arguments, execute)
