"""What can go wrong, and the exit code that says so.

::

    SipshardError
    ├── ConfigurationError   2  the operator's file; carries the problems, see below
    ├── BootError            3  a child process cannot start (location unwritable, no memory, …)
    ├── PolicyError          4  the policy script cannot be imported
    ├── AddressInUseError    5  another process serves one of our addresses
    └── NotRunningError      1  a command needs the running server and finds none

The exit codes are an interface: service managers and scripts act on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class ExitCode(IntEnum):
    """The exit codes of ``sipshard`` and of its child processes."""

    STOPPED = 0
    FAILED = 1
    CONFIGURATION = 2
    WORKER_CANNOT_BOOT = 3
    POLICY_CANNOT_LOAD = 4
    ADDRESS_IN_USE = 5


class SipshardError(Exception):
    """Everything that sipshard raises on purpose; its text is written for the operator."""

    exit_code: ExitCode = ExitCode.FAILED


@dataclass(frozen=True, slots=True)
class ConfigurationProblem:
    """One thing that is wrong in a configuration file.

    ``line`` counts from 1 and is ``None`` where no line can be named (a missing key, a missing
    file). ``key`` is dotted (``server.workers``) and empty for a problem of the whole file.
    """

    file: Path
    line: int | None
    key: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        place = str(self.file) if self.line is None else f"{self.file}:{self.line}"
        subject = f"{self.key}: " if self.key else ""
        return f"{place}: {subject}{self.problem}\n    {self.remedy}"


class ConfigurationError(SipshardError):
    """A configuration that cannot be used. Holds every problem found, in the file's order."""

    exit_code = ExitCode.CONFIGURATION

    def __init__(self, problems: Sequence[ConfigurationProblem]) -> None:
        if not problems:
            raise ValueError("a configuration error needs at least one problem")
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)

    @property
    def file(self) -> Path:
        """The file of the first problem."""
        return self.problems[0].file

    @property
    def line(self) -> int | None:
        """The line of the first problem."""
        return self.problems[0].line

    @property
    def key(self) -> str:
        """The key of the first problem."""
        return self.problems[0].key

    @property
    def problem(self) -> str:
        """What is wrong, of the first problem."""
        return self.problems[0].problem

    @property
    def remedy(self) -> str:
        """What to do about it, of the first problem."""
        return self.problems[0].remedy


class BootError(SipshardError):
    """A child process that cannot start to serve."""

    exit_code = ExitCode.WORKER_CANNOT_BOOT


class PolicyError(SipshardError):
    """A policy script that cannot be imported or that defines no router."""

    exit_code = ExitCode.POLICY_CANNOT_LOAD


class AddressInUseError(SipshardError):
    """One of our listen addresses, or the runtime directory, belongs to another process."""

    exit_code = ExitCode.ADDRESS_IN_USE


class NotRunningError(SipshardError):
    """No server answers on the control socket."""
