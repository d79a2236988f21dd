"""The registrar: from a REGISTER that policy lets through to its answer (RFC 3261 §10.3)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from typing import Protocol, final

from sipshard.policy.decision import HeaderFields
from sipshard.registrar.binding import Binding
from sipshard.registrar.committer import Committer, Failure, Job, Result, Scheduler
from sipshard.registrar.location import MAX_AOR_BYTES, LocationService, aor_key
from sipshard.registrar.rules import Limits, Refusal, prepare
from sipshard.sip import Request

RETRY_AFTER_S = 5
"""What a phone is told to wait when too many registrations wait for the disk."""

WRITE_FAILURES = "location_write_failures"
"""The counter of registrations that were answered 500 because the table was not written."""

BINDINGS_SAVED = "bindings_saved"
"""The counter of contacts that were written; ``status`` takes its growth for a sound table."""


class Responder(Protocol):
    """The part of the engine that the registrar needs."""

    def respond(
        self,
        transaction_id: int,
        status: int,
        reason: str | None,
        headers: HeaderFields,
        body: bytes,
    ) -> bool:
        """Sends the final response of transaction ``transaction_id``; False when it is gone."""

    def count(self, name: str, n: int) -> None:
        """Adds to a counter of the worker."""


@final
class Registrar:
    """Updates bindings and answers. One per worker, used in the loop's thread only."""

    def __init__(
        self,
        engine: Responder,
        location: LocationService,
        limits: Limits,
        loop: Scheduler,
        *,
        window_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self._clock = clock
        self._date_s = 0
        self._date = ""
        self._committer = Committer(
            location,
            loop,
            self._finished,
            max_contacts=limits.max_contacts,
            window_s=window_s,
            clock=clock,
        )

    def start(self) -> None:
        """Starts the writing thread. Only after the fork."""
        self._committer.start()

    def stop(self) -> None:
        """Writes what waits and ends the thread; the answers come through the loop."""
        self._committer.stop()

    @property
    def waiting(self) -> int:
        """How many updates wait for their commit to begin."""
        return self._committer.waiting

    def save(self, transaction_id: int, request: Request, aor: str) -> None:
        """Applies ``request`` to the bindings of ``aor``; the answer follows the commit."""
        key = aor_key(aor)
        if len(key) > MAX_AOR_BYTES:
            self._engine.respond(transaction_id, 403, "Address-of-Record Too Long", (), b"")
            return
        update = prepare(request, self._limits, int(self._clock()))
        if isinstance(update, Refusal):
            self._engine.respond(transaction_id, update.status, update.reason, update.headers, b"")
            return
        contacts = update.contacts
        echoes_path = bool(contacts) and bool(contacts[0].path) and _supports_path(request)
        if not self._committer.submit(Job(transaction_id, key, update, echoes_path)):
            retry_after = (("Retry-After", str(RETRY_AFTER_S)),)
            self._engine.respond(transaction_id, 503, None, retry_after, b"")

    def _finished(self, jobs: list[Job], results: list[Result]) -> None:
        now_s = int(self._clock())
        if now_s != self._date_s:
            self._date_s = now_s
            self._date = formatdate(now_s, usegmt=True)
        respond = self._engine.respond
        failures = saved = 0
        for job, result in zip(jobs, results, strict=True):
            if isinstance(result, Refusal):
                respond(job.transaction_id, result.status, result.reason, result.headers, b"")
            elif isinstance(result, Failure):
                failures += 1
                respond(job.transaction_id, 500, None, (), b"")
            else:
                saved += len(job.update.contacts)
                respond(job.transaction_id, 200, None, self._accepted(job, result, now_s), b"")
        if saved:
            self._engine.count(BINDINGS_SAVED, saved)
        if failures:
            self._engine.count(WRITE_FAILURES, failures)

    def _accepted(self, job: Job, bindings: Sequence[Binding], now_s: int) -> HeaderFields:
        """Step 8: every current binding with the time it has left, and the date."""
        headers = [("Contact", contact_value(binding, now_s)) for binding in bindings]
        headers.append(("Date", self._date))
        if job.echoes_path:
            headers += [("Path", value) for value in job.update.contacts[0].path]
        return headers


def contact_value(binding: Binding, now_s: int) -> str:
    """One Contact of the 200 to a REGISTER, with its remaining seconds."""
    uri, q_milli, expires_at_s, _, _, _, instance, reg_id, parameters, _ = binding
    value = f"<{uri}>;expires={max(0, expires_at_s - now_s)}"
    if q_milli != 1000:
        value = f"{value};q={q_milli / 1000:.3g}"
    if instance is not None:
        value = f'{value};+sip.instance="<{instance}>"'
    if reg_id is not None:
        value = f"{value};reg-id={reg_id}"
    if parameters:
        value = f"{value};{parameters.lstrip(';')}"
    return value


def _supports_path(request: Request) -> bool:
    tags = (tag for value in request.headers("Supported") for tag in value.split(","))
    return any(tag.strip().lower() == "path" for tag in tags)
