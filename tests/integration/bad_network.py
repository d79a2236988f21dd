"""A bad network between two hosts of our own, for a server and those who call it.

Two network namespaces, joined by a wire that loses, delays, reorders and doubles packets. The wire
is a thread that carries IP packets between two TUN devices, because the kernel's own emulator
(netem) is a module that many kernels do not have, and because a seed makes its decisions the same
in every run, as far as the packets are.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import struct
import subprocess
import threading
import time
from dataclasses import dataclass
from typing import Self

# linux/if_tun.h
TUNSETIFF = 0x400454CA
IFF_TUN = 0x0001
IFF_NO_PI = 0x1000
# Addresses for documentation (RFC 5737): nobody is reached if they ever leave the namespaces.
SERVER_HOST = "192.0.2.1"
PHONES_HOST = "192.0.2.2"
PACKET_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad a wire is, in both directions: chances from 0 to 1, delays in seconds.

    Every packet takes ``delay_s`` and up to ``jitter_s`` more; of two that follow each other
    closely the second then often arrives first. ``late`` is the chance of up to four times
    ``jitter_s``, which lets even distant ones overtake.
    """

    loss: float
    delay_s: float = 0.002
    jitter_s: float = 0.006
    late: float = 0.05
    doubling: float = 0.01


class BadNetwork:
    """The two namespaces and their wire, to be used as a context manager by root.

    ``carried``, ``lost`` and ``doubled`` count packets, ``overtaken`` those that came behind one
    that was sent later.
    """

    def __init__(self, name: str, weather: Weather, seed: int) -> None:
        self.server_namespace = f"{name}-server"
        self.phones_namespace = f"{name}-phones"
        self.carried = self.lost = self.doubled = self.overtaken = 0
        self._weather = weather
        self._random = random.Random(seed)
        self._ends: list[int] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._carry)

    def __enter__(self) -> Self:
        try:
            self._lay(self.server_namespace, SERVER_HOST, PHONES_HOST)
            self._lay(self.phones_namespace, PHONES_HOST, SERVER_HOST)
        except BaseException:
            self._take_away()
            raise
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        self._take_away()

    def _lay(self, namespace: str, own: str, peer: str) -> None:
        """Makes a namespace with one end of the wire in it."""
        end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._ends.append(end)
        request = struct.pack("16sH22x", b"", IFF_TUN | IFF_NO_PI)
        device = fcntl.ioctl(end, TUNSETIFF, request)[:16].rstrip(b"\0").decode()
        _ip("netns", "add", namespace)
        _ip("link", "set", device, "netns", namespace)
        _ip("-n", namespace, "address", "add", own, "peer", peer, "dev", device)
        _ip("-n", namespace, "link", "set", "lo", "up")
        _ip("-n", namespace, "link", "set", device, "up")

    def _take_away(self) -> None:
        # The devices vanish with the last descriptor.
        for end in self._ends:
            os.close(end)
        for namespace in (self.server_namespace, self.phones_namespace):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, check=False)

    def _carry(self) -> None:
        """Takes packets from either end, and puts them into the other when they are due."""
        on_the_way: list[tuple[float, int, int, bytes]] = []
        newest = dict.fromkeys(self._ends, -1)
        while not self._stopped.is_set():
            now = time.monotonic()
            while on_the_way and on_the_way[0][0] <= now:
                _, number, end, packet = heapq.heappop(on_the_way)
                self.overtaken += number < newest[end]
                newest[end] = max(newest[end], number)
                _put(end, packet)
            pause_s = on_the_way[0][0] - now if on_the_way else 0.1
            for source in select.select(self._ends, [], [], max(pause_s, 0.0))[0]:
                target = self._ends[1 - self._ends.index(source)]
                for due, packet in self._taken(source):
                    heapq.heappush(on_the_way, (due, self.carried, target, packet))

    def _taken(self, end: int) -> list[tuple[float, bytes]]:
        """One packet that waits at ``end``, as often as it will arrive, with the times."""
        try:
            packet = os.read(end, PACKET_BYTES)
        except BlockingIOError:
            return []
        self.carried += 1
        if self._chance(self._weather.loss):
            self.lost += 1
            return []
        copies = 2 if self._chance(self._weather.doubling) else 1
        self.doubled += copies - 1
        return [(time.monotonic() + self._delay_s(), packet) for _ in range(copies)]

    def _delay_s(self) -> float:
        weather = self._weather
        jitter_s = weather.jitter_s * (4 if self._chance(weather.late) else 1)
        return weather.delay_s + self._random.random() * jitter_s

    def _chance(self, of: float) -> bool:
        return self._random.random() < of


def _put(end: int, packet: bytes) -> None:
    try:
        os.write(end, packet)
    except OSError:
        # The namespace is going down, or its queue is full: one more packet is lost.
        return


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
