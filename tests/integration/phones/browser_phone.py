"""JsSIP in a headless Chromium as a phone over WebSocket; the other half is in tests/browser."""

from __future__ import annotations

import json
import queue
import shutil
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Self

from tests.integration.phones.part import PATIENCE_S, Part, PhoneError

DRIVER = Path(__file__).resolve().parents[2] / "browser" / "phones.mjs"
# A cold Chromium on a busy machine.
START_TIMEOUT_S = 100.0

Events = queue.SimpleQueue[dict[str, Any]]


class Browser:
    """One Chromium, whose pages are phones. It lasts for many calls; use it in a ``with``."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._process: subprocess.Popen[str] | None = None
        self._ready: Events = queue.SimpleQueue()
        self._events: dict[str, Events] = {}
        self._receiver = threading.Thread(target=self._receive, daemon=True)

    def __enter__(self) -> Self:
        chromium = shutil.which("chromium")
        if chromium is None:
            raise PhoneError("there is no chromium; tools/bootstrap.sh browser installs it")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["node", str(DRIVER), chromium],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        self._receiver.start()
        try:
            self._ready.get(timeout=START_TIMEOUT_S)
        except queue.Empty:
            self.__exit__()
            raise PhoneError(f"no browser: {self._log.read_text(errors='replace')}") from None
        return self

    def __exit__(self, *_: object) -> None:
        """The driver closes the browser when its input ends."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()
        self._receiver.join()
        self._process.stdout.close()

    def tell(self, page: str, command: str, **parameters: str) -> None:
        """Gives a page a command; pages are made when they are first named."""
        assert self._process is not None
        assert self._process.stdin is not None
        line = json.dumps({"phone": page, "command": command, **parameters})
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()

    def events(self, page: str) -> Events:
        """What happens to a page, from now on."""
        self._events[page] = queue.SimpleQueue()
        return self._events[page]

    def _receive(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event = json.loads(line)
            events = self._events.get(event.get("phone"), self._ready)
            events.put(event)


class BrowserPhone:
    """The phone in one page of a browser, which no other phone uses at the time."""

    def __init__(self, part: Part, scheme: str, browser: Browser, page: str) -> None:
        self._part = part
        self._scheme = scheme
        self._browser = browser
        self._page = page
        self._events = browser.events(page)

    def __enter__(self) -> Self:
        host, port = self._part.server
        server = f"{self._scheme}://{host}:{port}"
        self._tell("open", server=server, user=self._part.user, domain=self._part.domain)
        self._wait_for_event("registered")
        if self._part.calls:
            self._tell("call", target=self._part.target)
        return self

    def __exit__(self, *_: object) -> None:
        self._tell("close")
        self._wait_for_event("unregistered")

    def wait_until_answered(self) -> None:
        """Returns when the call is up. Raises PhoneError."""
        self._wait_for_event("ringing")
        self._wait_for_event("accepted")
        self._wait_for_event("confirmed")

    def hang_up(self) -> None:
        """Sends the BYE."""
        self._tell("hang_up")

    def wait_until_ended(self) -> None:
        """Returns when the call has ended by a BYE. Raises PhoneError."""
        ended = self._wait_for_event("ended")
        originator = "local" if self._part.hangs_up else "remote"
        if (ended["originator"], ended["cause"]) != (originator, "Terminated"):
            raise PhoneError(f"{self._part}: {ended}")

    def _tell(self, command: str, **parameters: str) -> None:
        self._browser.tell(self._page, command, **parameters)

    def _wait_for_event(self, kind: str) -> dict[str, Any]:
        """Reads on until that event comes."""
        seen = []
        deadline = time.monotonic() + PATIENCE_S
        while (left_s := deadline - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=left_s)
            except queue.Empty:
                break
            if event["event"] == kind:
                return event
            seen.append(event)
        raise PhoneError(f"{self._part}: no {kind} but {seen}")
