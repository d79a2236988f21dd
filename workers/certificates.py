"""Certificates: from the files that the configuration names to what the engine uses."""

from __future__ import annotations

from pathlib import Path

from sipshard.config import Configuration
from sipshard.errors import BootError
from sipshard.sip import Tls


def read(configuration: Configuration) -> Tls | None:
    """The certificates of this configuration; None when nothing in it needs any.

    Without a certificate of our own we can still connect to others over TLS, if a listener gives us
    a name there; so a configuration without secure listeners has no TLS at all.

    Raises BootError, whose text names the file, when one cannot be read or used.
    """
    tls = configuration.tls
    if not any(address.is_secure for address in configuration.server.listen):
        return None
    identities = [(_bytes(each.certificate), _bytes(each.key)) for each in tls.certificates]
    client_ca = None if tls.client_ca is None else _bytes(tls.client_ca)
    trusted = _bytes(tls.trusted) if tls.verify else b""
    try:
        return Tls(
            identities=identities,
            client_ca=client_ca,
            client_auth=tls.client_auth,
            trusted=trusted,
            verify=tls.verify,
            min_version=tls.min_version,
        )
    except ValueError as error:
        names = ", ".join(str(each.certificate) for each in tls.certificates)
        raise BootError(f"[tls] {names}: {error}; correct the files or the [tls] table") from None


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        what = f"[tls] {path}: {error.strerror}"
        raise BootError(f"{what}; correct the path, or let this user read it") from None
