"""``sipshard run``: the server, in the foreground."""

from __future__ import annotations

import argparse

from sipshard import config
from sipshard.cli.verb import Verb

_DESCRIPTION = """\
Runs the server in the foreground. Prints one line per listener and then
"ready" when it serves; the log goes to standard error.

SIGTERM or Ctrl-C stops it in order: no new work, open transactions get
server.stop_timeout_s to finish. A second one ends it at once."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none but the configuration."""


def execute(arguments: argparse.Namespace) -> int:
    """Runs until stopped. Raises SipshardError when the server cannot start."""
    configuration = config.load(config.locate(arguments.config))
    # Imported late: the other verbs need none of it and should answer at once.
    from sipshard.supervisor import launch

    return launch.run(configuration)


VERB = Verb("run", "run the server in the foreground", _DESCRIPTION, add_arguments, execute)
