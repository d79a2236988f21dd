"""The command line: ``sipshard VERB``, one module per verb."""

from sipshard.cli.main import main

__all__ = ["main"]
