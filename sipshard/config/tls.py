"""The settings of TLS."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, StrictBool, model_validator

from sipshard.config.problem import problem
from sipshard.config.table import RelativePath, Table


class Certificate(Table):
    """A certificate chain and its key, as PEM files."""

    certificate: RelativePath = Field(description="The certificate, then those that signed it.")
    key: RelativePath = Field(description="Its private key, readable for the server's user only.")


class Tls(Table):
    """Certificates of the `tls` and `wss` listeners, and whom to trust.

    SIGHUP to the supervisor reads the files again; connections that are there keep what they have.
    """

    certificates: tuple[Certificate, ...] = Field(
        default=(),
        description="What clients are shown, a list of `{ certificate = FILE, key = FILE }`: the "
        "first that is valid for the name they ask for (SNI), else the first. The first one is "
        "also what servers are shown that ask for one.",
    )
    client_auth: Literal["off", "optional", "required"] = Field(
        default="off",
        description="Whether clients are asked for a certificate (mutual TLS): `optional` lets in "
        "those without one, `required` does not. A bad one is always refused.",
    )
    client_ca: RelativePath | None = Field(
        default=None, description="PEM file with the authorities that sign clients' certificates."
    )
    trusted: RelativePath = Field(
        default=Path("/etc/ssl/certs/ca-certificates.crt"),
        description="PEM file with the authorities that sign the certificates of servers that we "
        "connect to.",
    )
    verify: StrictBool = Field(
        default=True,
        description="Whether those servers must have a valid certificate for the name in the URI "
        "(RFC 5922). Without it nobody knows whom he talks to.",
    )
    min_version: Literal["1.2", "1.3"] = Field(
        default="1.2", description="The oldest version of TLS that is spoken."
    )

    @model_validator(mode="after")
    def _clients_can_be_checked(self) -> Self:
        if self.client_auth != "off" and self.client_ca is None:
            raise problem(
                f'client_auth = "{self.client_auth}" needs somebody to trust',
                "add client_ca = FILE",
                "client_auth",
            )
        return self
