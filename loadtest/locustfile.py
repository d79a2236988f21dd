"""SIP users for locust: each registers, then calls the others for as long as the test runs.

    locust -f loadtest/locustfile.py --host sip:127.0.0.1:5060 --headless -u 200 -r 20 -t 60s

``--host`` is the server; its host name is the users' domain, unless SIP_DOMAIN is set. Requests are
shown as REGISTER, INVITE (until it is answered) and BYE.
"""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from locust import User, between, task

from loadtest.message import Message
from loadtest.phone import NoAnswerError, Phone

TALK_S = 0.5
EXPIRES_S = 300

numbers = itertools.count()
registered: list[str] = []


class UnexpectedStatusError(Exception):
    """The server answered, but not with success."""


class SipUser(User):
    """A phone that registers and calls whoever else is registered."""

    wait_time = between(1, 3)

    def on_start(self) -> None:
        """Registers; a user that cannot is counted as a failure and tries again with its tasks."""
        server = urlsplit(self.host.replace("sip:", "sip://", 1))
        address = (server.hostname or "127.0.0.1", server.port or 5060)
        domain = os.environ.get("SIP_DOMAIN", address[0])
        # A process id makes the name unique among locust's workers.
        self.phone = Phone(f"locust-{os.getpid()}-{next(numbers)}", domain, address)
        self.register()
        registered.append(self.phone.aor)

    def on_stop(self) -> None:
        """Takes the binding back, so that nobody is called who is gone."""
        if self.phone.aor in registered:
            registered.remove(self.phone.aor)
        self._timed("REGISTER", lambda: self.phone.register(expires_s=0))
        self.phone.close()

    @task(1)
    def register(self) -> None:
        """Refreshes the binding."""
        self._timed("REGISTER", lambda: self.phone.register(EXPIRES_S))

    @task(5)
    def call(self) -> None:
        """Calls somebody, perhaps itself; talks and hangs up."""
        if not registered:
            return
        uri = random.choice(registered)
        response = self._timed("INVITE", lambda: self.phone.invite(uri))
        if response is not None:
            time.sleep(TALK_S)
            self._timed("BYE", lambda: self.phone.hang_up(response))

    def _timed(self, name: str, action: Callable[[], Message]) -> Message | None:
        """Runs ``action`` and reports it to locust; the response if it was a 2xx."""
        begun = time.perf_counter()
        response: Message | None = None
        error: Exception | None = None
        try:
            response = action()
            if response.status >= 300:
                error = UnexpectedStatusError(response.start_line)
        except (NoAnswerError, OSError) as caught:
            error = caught
        self.environment.events.request.fire(
            request_type="SIP",
            name=name,
            response_time=(time.perf_counter() - begun) * 1000,
            response_length=len(bytes(response)) if response else 0,
            exception=error,
            context={},
        )
        return None if error else response
