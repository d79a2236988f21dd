"""A signalling worker: the engine of one shard, the policy that decides, the loop that joins them.

==========  ======================================================================================
told        does
==========  ======================================================================================
SIGTERM     new work gets 503, what is unfinished may finish for ``server.stop_timeout_s``, ends
SIGUSR1     passes new work to the successor, finishes its own transactions, ends
TAKE_OVER   begins to read the sockets (a successor that was started in standby)
READ_CERT…  uses the certificates as they are now in their files
==========  ======================================================================================
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import final

from sipshard.config import Configuration, Connections
from sipshard.errors import BootError
from sipshard.log import logger
from sipshard.policy import builtin, loader
from sipshard.policy.router import Router
from sipshard.policy.served import ServedDomains
from sipshard.proxy.client import OwnRequests
from sipshard.proxy.execution import Execution
from sipshard.registrar.location import LocationService
from sipshard.registrar.registrar import Registrar
from sipshard.registrar.rules import Limits
from sipshard.sip import Engine
from sipshard.workers import certificates
from sipshard.workers.base import READ_CERTIFICATES, TAKE_OVER, ChildProcess
from sipshard.workers.locator import Locator, make_locator
from sipshard.workers.loop import EngineLoop, EngineSelector

STOP_RETRY_AFTER_S = 5
"""What callers are told to wait while this worker stops."""

COLLECT_AFTER_OBJECTS = 20_000
"""How many more objects than were freed must be made before the cyclic collector looks again."""

POLICY_THREADS = 8
"""Threads for what a policy calls with asyncio.to_thread."""

END_POLL_S = 0.05
"""How often a worker that is to end looks whether everything is finished."""


@final
class SignallingWorker(ChildProcess):
    """Serves one shard."""

    name = "signalling"

    def boot(self) -> None:
        """Loads the policy and opens engine, location table and loop."""
        configuration = self.inheritance.configuration
        policy = configuration.server.policy
        router = builtin.router if policy is None else loader.load(policy)
        self._ending: _Ending | None = None
        self._is_stopping = False
        self._engine = self._new_engine(router)
        self._selector = selector = EngineSelector(self._engine)
        self._loop = EngineLoop(selector)
        self._loop.set_default_executor(ThreadPoolExecutor(POLICY_THREADS, "worker"))
        self._location = open_location(configuration)
        limits = configuration.location
        self._registrar = Registrar(
            self._engine,
            self._location,
            Limits(
                limits.max_contacts,
                limits.default_expires_s,
                limits.min_expires_s,
                limits.max_expires_s,
            ),
            selector,
            window_s=limits.group_commit_ms / 1000,
        )
        client = OwnRequests(self._engine, self._loop, self._own_uri())
        services = {"client": client, "location": self._location, "server": self._served()}
        self._execution = Execution(
            self._engine,
            self._registrar,
            router,
            services,
            self._loop,
            max_forward_handlers=configuration.limits.max_transactions,
            client=client,
        )
        self._locator = self._new_locator()
        selector.attach(self._execution.handle, self._locator.locate)
        self._listen_to_supervisor()

    def serve(self) -> None:
        """Runs the loop until a signal ends it."""
        _quieten_collector()
        self._registrar.start()
        try:
            self._loop.run_forever()
        finally:
            self._close()

    def _new_engine(self, router: Router) -> Engine:
        inheritance = self.inheritance
        configuration = inheritance.configuration
        timers = configuration.transaction
        # A branch may ring as long as Timer C allows, unless the operator set a limit of its own.
        ring_s = timers.ring_timeout_s or timers.timer_c_s
        return Engine(
            shard=inheritance.shard,
            generation=inheritance.generation,
            region=inheritance.region,
            wakeups=inheritance.wakeups,
            listeners=[
                (
                    listener.sockets[inheritance.shard].fileno(),
                    listener.transport,
                    listener.advertised_host,
                    listener.advertised_port,
                )
                for listener in inheritance.listeners
            ],
            domains=configuration.server.domains,
            secret=inheritance.installation_secret,
            max_transactions=configuration.limits.max_transactions,
            max_branches=configuration.limits.max_branches,
            ask_about_strays=router.handles_strays,
            overload_ms=(configuration.overload.start_ms, configuration.overload.full_ms),
            udp_max_bytes=timers.udp_max_bytes or sys.maxsize,
            timers_ms=(timers.t1_ms, timers.t2_ms, timers.t4_ms, int(ring_s * 1000)),
            batch_delay_us=configuration.server.batch_delay_us,
            connections=_bounds(configuration.connections),
            proxy_protocol=configuration.connections.proxy_protocol,
            tls=certificates.read(configuration),
            standby=inheritance.standby,
        )

    def _new_locator(self) -> Locator:
        listeners = [(each.transport, each.host) for each in self.inheritance.listeners]
        settings = self.inheritance.configuration.dns
        return make_locator(self._engine, self._loop, settings, listeners)

    def _served(self) -> ServedDomains:
        listeners = self.inheritance.listeners
        addresses = [(each.host, each.port) for each in listeners]
        addresses += [(each.advertised_host, each.advertised_port) for each in listeners]
        return ServedDomains(self.inheritance.configuration.server.domains, addresses)

    def _own_uri(self) -> str:
        """What stands in the From of requests of our own: a domain, or else our address."""
        domains = self.inheritance.configuration.server.domains
        if domains:
            return f"sip:{domains[0]}"
        first = self.inheritance.listeners[0]
        host = first.advertised_host
        host = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"sip:{host}:{first.advertised_port}"

    def _listen_to_supervisor(self) -> None:
        self._loop.add_signal_handler(signal.SIGTERM, self._stop)
        self._loop.add_signal_handler(signal.SIGUSR1, self._drain)
        self._loop.add_reader(self.inheritance.pipe.fileno(), self._obey)

    def _obey(self) -> None:
        for command in self.inheritance.pipe.commands():
            if command == TAKE_OVER:
                self._engine.take_over()
            elif command == READ_CERTIFICATES:
                self._read_certificates()
            else:
                logger.warning("unknown command %r from the supervisor", command)

    def _read_certificates(self) -> None:
        """What cannot be used is not: the server goes on with what it has, and says so."""
        try:
            tls = certificates.read(self.inheritance.configuration)
        except BootError as error:
            logger.error("the certificates stay as they are: %s", error)
            return
        if tls is not None:
            self._engine.use_certificates(tls)
            logger.info("uses the certificates as they are now in their files")

    def _ignore_signals(self) -> None:
        """A signal that comes again while the loop closes would find its descriptors gone."""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            self._loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _stop(self) -> None:
        if self._is_stopping:
            return
        self._is_stopping = True
        self._engine.stop_accepting(STOP_RETRY_AFTER_S)
        timeout_s = self.inheritance.configuration.server.stop_timeout_s
        self._end_when(self._all_are_finished, timeout_s)

    def _all_are_finished(self) -> bool:
        """Whether no worker waits for an outcome any more.

        One that went as soon as it is idle itself would leave new work at its socket without the
        503, and the others' messages that arrive there without a hand that passes them on.
        """
        region = self.inheritance.region
        return self._engine.unfinished == 0 and not any(
            region.page(shard)["unfinished"] for shard in range(region.workers)
        )

    def _drain(self) -> None:
        if self._ending is not None:
            return
        self._engine.drain_to_successor()
        timeout_s = self.inheritance.configuration.watchdog.drain_timeout_s
        self._end_when(lambda: self._engine.transactions == 0, timeout_s)

    def _end_when(self, is_finished: Callable[[], bool], timeout_s: float) -> None:
        """Ends the loop when nothing is left to do, or after ``timeout_s``.

        A second call replaces the condition of the first: a stop does not wait as long as a drain.
        """
        is_under_way = self._ending is not None
        self._ending = _Ending(is_finished, self._loop.time() + timeout_s)
        if not is_under_way:
            self._look_for_the_end()

    def _look_for_the_end(self) -> None:
        assert self._ending is not None
        is_idle = not self._registrar.waiting and not self._execution.suspended
        if is_idle and self._ending.is_finished():
            self._loop.stop()
        elif self._loop.time() >= self._ending.deadline:
            logger.warning("ends with %d transactions unfinished", self._engine.unfinished)
            self._loop.stop()
        else:
            self._loop.call_later(END_POLL_S, self._look_for_the_end)

    def _close(self) -> None:
        self._ignore_signals()
        self._execution.close()
        self._locator.close()
        self._registrar.stop()
        # The last group's answers and the cancelled handlers have their turn before the loop goes.
        self._selector.run_posted()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._location.close()
        self._loop.close()
        self._engine.close()


@dataclass(frozen=True, slots=True)
class _Ending:
    """When the worker ends: as soon as ``is_finished``, and by the loop's clock at ``deadline``."""

    is_finished: Callable[[], bool]
    deadline: float


def _bounds(connections: Connections) -> tuple[int, int, int, int, int, int, int]:
    """As the engine takes them."""
    return (
        connections.max,
        connections.max_per_source,
        connections.queue_kb * 1024,
        int(connections.connect_timeout_s * 1000),
        int(connections.handshake_timeout_s * 1000),
        int(connections.message_timeout_s * 1000),
        int(connections.idle_timeout_s * 1000),
    )


def _quieten_collector() -> None:
    """Lets the cyclic collector look at what requests leave behind, not at the program.

    A request's objects die with their last reference; cycles come from policies and tasks. With
    the defaults the collector would walk some hundred thousand objects of imported modules again
    and again, each time for milliseconds in which no call is served.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_AFTER_OBJECTS)


def open_location(configuration: Configuration, *, read_only: bool = False) -> LocationService:
    """The location table of this configuration. Only after the fork, and once per process."""
    location = configuration.location
    return LocationService(
        location.path,
        durability=location.durability,
        map_size_bytes=location.map_size_mb << 20,
        read_only=read_only,
    )
