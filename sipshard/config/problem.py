"""How a validator says what is wrong and what to do about it."""

from __future__ import annotations

from pydantic_core import PydanticCustomError

PROBLEM_TYPE = "sipshard"


def problem(what: str, remedy: str, key: str = "") -> PydanticCustomError:
    """The error for a validator to raise; the loader adds file and line.

    The validator of a whole table names the ``key`` to point at; that of one field need not.
    """
    # The texts travel in the context: pydantic would read braces in the template as fields.
    context = {"what": what, "remedy": remedy, "key": key}
    return PydanticCustomError(PROBLEM_TYPE, "{what}", context)
