"""The sockets of all workers, opened once and kept as long as the server lives.

A dead worker's socket goes on queueing here, and the next worker of its shard reads it empty; and
the order of the sockets in the kernel's reuseport group, which the steering program counts on,
never changes.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from sipshard.config import ListenAddress
from sipshard.errors import AddressInUseError, BootError
from sipshard.log import logger
from sipshard.supervisor.locks import address_lock
from sipshard.workers.base import InheritedListener

# What arrives while a worker is respawned must fit: 150 ms of 20,000 datagrams/s of 1 kB.
RECEIVE_BUFFER_BYTES = 4 * 1024 * 1024
_MUCH_TOO_SMALL_BYTES = 1024 * 1024

# Connections that wait while a worker is respawned; the kernel cuts it to net.core.somaxconn.
ACCEPT_BACKLOG = 4096

# Linux, socket(7): as SO_RCVBUF, but beyond net.core.rmem_max; needs CAP_NET_ADMIN.
_SO_RCVBUFFORCE = 33

_BIND_REMEDIES = {
    errno.EADDRNOTAVAIL: "server.listen must name an address of this machine",
    errno.EACCES: "a port below 1024 needs the capability CAP_NET_BIND_SERVICE",
}


@contextmanager
def open_listener(
    address: ListenAddress, advertised: tuple[str, int] | None, workers: int, locks: Path
) -> Iterator[InheritedListener]:
    """Locks one address and opens its sockets, one per worker.

    Raises AddressInUseError when it belongs to somebody else, BootError when it cannot be bound.
    """
    with ExitStack() as stack:
        if address.port:
            stack.enter_context(address_lock(address, locks))
            _probe(address)
        else:
            address = replace(address, port=_probe(address))
            stack.enter_context(address_lock(address, locks))
        sockets = tuple(stack.enter_context(_bound(address)) for _ in range(workers))
        host, port = advertised or (address.host, address.port)
        if not address.is_stream:
            _report_small_buffer(address, sockets[0])
        yield InheritedListener(address.transport, address.host, address.port, host, port, sockets)


def _probe(address: ListenAddress) -> int:
    """Binds the address alone for a moment, to find out who else is there; returns the port.

    Without SO_REUSEPORT the kernel refuses as soon as anybody is bound, also one that knows
    nothing of our locks.
    """
    with _socket(address) as probe:
        _bind(probe, address)
        return int(probe.getsockname()[1])


def _bound(address: ListenAddress) -> socket.socket:
    endpoint = _socket(address)
    try:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if not address.is_stream:
            _enlarge_buffer(endpoint)
        _bind(endpoint, address)
        if address.is_stream:
            endpoint.listen(ACCEPT_BACKLOG)
        endpoint.setblocking(False)
    except BaseException:
        endpoint.close()
        raise
    return endpoint


def _socket(address: ListenAddress) -> socket.socket:
    family = socket.AF_INET6 if address.is_ipv6 else socket.AF_INET
    try:
        kind = socket.SOCK_STREAM if address.is_stream else socket.SOCK_DGRAM
        endpoint = socket.socket(family, kind)
    except OSError as error:
        raise BootError(f"{address}: {os.strerror(error.errno or 0)}") from None
    if address.is_ipv6:
        endpoint.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if address.is_stream:
        # Connections of a server that has just ended linger in the kernel (TIME_WAIT) and would
        # hold the address; a living listener is refused all the same.
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    return endpoint


def _bind(endpoint: socket.socket, address: ListenAddress) -> None:
    try:
        endpoint.bind((address.host, address.port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            what = f"{address} is in use by another process; stop that, or change server.listen"
            raise AddressInUseError(what) from None
        remedy = _BIND_REMEDIES.get(error.errno or 0, "correct server.listen")
        raise BootError(f"cannot listen on {address}: {error.strerror}; {remedy}") from None


def _enlarge_buffer(endpoint: socket.socket) -> None:
    try:
        endpoint.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def _report_small_buffer(address: ListenAddress, endpoint: socket.socket) -> None:
    # The kernel doubles what is asked for and reports the double (socket(7)).
    size_bytes = endpoint.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
    if size_bytes < _MUCH_TOO_SMALL_BYTES:
        logger.warning(
            "%s: the kernel allows %d kB of receive buffer, and bursts may be lost; "
            "set net.core.rmem_max = %d",
            address,
            size_bytes // 1024,
            RECEIVE_BUFFER_BYTES,
        )
