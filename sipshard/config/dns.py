"""The settings of the lookup of next hops."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BeforeValidator, Field, model_validator

from sipshard.config.address import parse_name_server
from sipshard.config.problem import problem
from sipshard.config.table import Number, Table

NameServer = Annotated[tuple[str, int], BeforeValidator(parse_name_server)]


class Dns(Table):
    """How next hops that are names are located (RFC 3263: NAPTR, SRV, AAAA, A).

    The hosts file of the machine comes first. Names are complete: search domains are not used.
    Answers are kept as long as their records say, between 5 seconds and an hour; when no server
    answers, what was known is used for an hour longer.
    """

    servers: tuple[NameServer, ...] = Field(
        default=(),
        description="Addresses of the name servers, `address` or `address:port`, in the order "
        "they are asked. Without any, those of `/etc/resolv.conf`, which is followed when it "
        "changes.",
    )
    timeout_s: Number = Field(
        default=5.0,
        gt=0,
        le=30,
        description="How long the whole lookup of a name may take.",
    )
    attempt_timeout_s: Number = Field(
        default=1.0,
        gt=0,
        le=30,
        description="How long one server may take for one answer; then the next one is asked.",
    )

    @model_validator(mode="after")
    def _attempts_fit(self) -> Self:
        if self.attempt_timeout_s > self.timeout_s:
            raise problem(
                f"attempt_timeout_s = {self.attempt_timeout_s:g} is above "
                f"timeout_s = {self.timeout_s:g}",
                "lower attempt_timeout_s, or raise timeout_s",
                self._culprit("attempt_timeout_s", "timeout_s"),
            )
        return self
