"""The settings of overload control."""

from __future__ import annotations

from typing import Self

from pydantic import Field, StrictInt, model_validator

from sipshard.config.problem import problem
from sipshard.config.table import Table


class Overload(Table):
    """When new work is refused because messages wait too long before they are read.

    Calls in progress and emergency calls are always served. Who is refused gets 503 and is told to
    come back after 5 to 15 seconds. ``sipshard status`` shows each worker's ``queue_delay_ms``.
    """

    start_ms: StrictInt = Field(
        default=500,
        ge=0,
        le=60_000,
        description="Delay above which part of the new calls, registrations, subscriptions and "
        "messages is refused, the more the longer it is; `0` never refuses anything.",
    )
    full_ms: StrictInt = Field(
        default=2000, ge=1, le=60_000, description="Delay from which on all of them are refused."
    )

    @model_validator(mode="after")
    def _delays_are_ordered(self) -> Self:
        if self.start_ms >= self.full_ms:
            raise problem(
                f"start_ms = {self.start_ms} is not below full_ms = {self.full_ms}",
                "raise full_ms, or lower start_ms",
                self._culprit("full_ms", "start_ms"),
            )
        return self
