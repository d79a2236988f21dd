"""baresip as a phone over TLS. Its module ctrl_tcp takes commands in JSON, framed by netstrings."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from loadtest.sipp import HOST
from tests.integration.phones.part import PATIENCE_S, Part, PhoneError, reserve_tcp_port, wait_for

# aubridge is audio without a sound card. net_interface takes an address, too, and needs one here:
# without it baresip looks for the default route.
CONFIG = """\
net_interface {host}
sip_cafile {authority}
module_path {modules}
module g711.so
module aubridge.so
module_app account.so
module_app contact.so
module_app menu.so
module_app ctrl_tcp.so
audio_player aubridge,nil
audio_source aubridge,nil
audio_alert aubridge,nil
ctrl_tcp_listen {host}:{port}
"""
ACCOUNT = (
    '<{aor};transport=tls>;outbound="sip:{host}:{port};transport=tls";'
    "auth_pass=none;regint=60;answermode=auto"
)


class BaresipPhone:
    """One process with one account.

    ``authority`` has signed the server's certificate. baresip 1.0, Debian 12's, does not check it.
    """

    def __init__(self, part: Part, authority: Path, folder: Path) -> None:
        self._part = part
        self._authority = authority
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._received = bytearray()

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            with reserve_tcp_port() as keeper:
                port = keeper.getsockname()[1]
                self._write_configuration(port)
                self._process = self._start()
                wait_for(lambda: self._connects(port), self._account)
            host, sip_port = self._part.server
            self._tell("uanew", ACCOUNT.format(aor=self._part.aor, host=host, port=sip_port))
            self._wait_for_event("REGISTER_OK")
            if self._part.calls:
                self._tell("dial", self._part.target)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._control:
            self._control.close()
        if self._process and self._process.poll() is None:
            # It unregisters then.
            self._process.terminate()
            try:
                self._process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def wait_until_answered(self) -> None:
        """Returns when the call is up. Raises PhoneError."""
        if self._part.calls:
            self._wait_for_event("CALL_RINGING")
        self._wait_for_event("CALL_ESTABLISHED")

    def hang_up(self) -> None:
        """Sends the BYE."""
        self._tell("hangup")

    def wait_until_ended(self) -> None:
        """Returns when the call has ended. Raises PhoneError."""
        self._wait_for_event("CALL_CLOSED")

    def _write_configuration(self, port: int) -> None:
        modules = next(Path("/usr/lib").glob("**/baresip/modules"))
        text = CONFIG.format(host=HOST, authority=self._authority, modules=modules, port=port)
        (self._folder / "config").write_text(text, encoding="utf-8")
        for name in ("accounts", "contacts"):
            # It writes long examples where there is no file.
            (self._folder / name).touch()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self._folder / "output").open("wb") as output:
            return subprocess.Popen(
                ["baresip", "-f", str(self._folder), "-s"],
                env=os.environ | {"TERM": "dumb"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _connects(self, port: int) -> bool:
        with suppress(ConnectionRefusedError):
            self._control = socket.create_connection((HOST, port), PATIENCE_S)
        return self._control is not None

    def _tell(self, command: str, parameters: str = "") -> None:
        assert self._control is not None
        text = json.dumps({"command": command, "params": parameters}).encode()
        self._control.sendall(b"%d:%s," % (len(text), text))

    def _wait_for_event(self, kind: str) -> None:
        """Reads on until that event comes."""
        seen = []
        deadline = time.monotonic() + PATIENCE_S
        while event := self._next_message(deadline):
            if event.get("type") == kind:
                return
            seen.append(event)
        raise PhoneError(f"no {kind} but {seen}\n{self._account()}")

    def _next_message(self, deadline: float) -> dict[str, Any] | None:
        """The next event or response; None after the deadline and at the end of the process."""
        assert self._control is not None
        while (message := self._cut()) is None:
            self._control.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                chunk = self._control.recv(65536)
            except TimeoutError:
                return None
            if not chunk:
                return None
            self._received += chunk
        return message

    def _cut(self) -> dict[str, Any] | None:
        """Takes the first whole netstring, ``LENGTH:TEXT,``, out of what was received."""
        digits, colon, rest = self._received.partition(b":")
        if not colon or len(rest) <= int(digits):
            return None
        message: dict[str, Any] = json.loads(rest[: int(digits)])
        del self._received[: len(digits) + int(digits) + 2]
        return message

    def _account(self) -> str:
        output = (self._folder / "output").read_text(errors="replace")
        return f"{self._part}\n{output[-6000:]}"
