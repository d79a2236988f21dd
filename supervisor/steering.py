"""Asking the kernel to hand every datagram to the worker of its call."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sipshard.log import logger
from sipshard.workers.base import InheritedListener

Attach = Callable[[int, int, bytes], None]


def steer(listeners: Sequence[InheritedListener], secret: bytes, attach: Attach) -> bool:
    """Attaches the steering program to every listener's group of sockets.

    A kernel that refuses costs speed, not correctness (the workers pass on what is not theirs), so
    it gets one line in the log. Returns whether the kernel steers.
    """
    for listener in listeners:
        if listener.transport != "udp":
            # A connection stays with the worker that accepts it; the kernel spreads them.
            continue
        try:
            # The program belongs to the group, so any socket of the group will do.
            attach(listener.sockets[0].fileno(), len(listener.sockets), secret)
        except OSError as error:
            logger.warning(
                "the kernel refuses the steering program (%s): it will spread datagrams by "
                "address, and workers pass on what belongs to another",
                error,
            )
            return False
    return True
