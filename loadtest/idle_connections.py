"""Measures what idle TLS connections cost the one worker that holds them.

Usage: ``python -m loadtest.idle_connections`` or ``make bench``; ``--help`` lists the options. Each
connection asks one OPTIONS, so that it is certainly established, and then says nothing. Several
processes are the clients, each from an address of its own. Exit code 1 when a connection costs more
memory than ``--limit``, or when one was lost.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from loadtest.report import machine
from loadtest.server import ServerError, Sipshard
from loadtest.sipp import HOST

# Below connections.max_per_source, and few enough for the open files of a client process.
CONNECTIONS_PER_CLIENT = 5_000
# Open files that the worker may need beside its connections while it is measured.
SPARE_FILES = 24
CONNECT_TIMEOUT_S = 60.0
OPEN_TIMEOUT_S = 600.0


class TlsSipshard(Sipshard):
    """A server of one worker with a TLS listener, all else as it is by default."""

    settings = (
        Sipshard.settings.replace('"tcp:', '"tls:')
        + '\n[tls]\ncertificates = [{{ certificate = "cert.pem", key = "key.pem" }}]\n'
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, workers=1)

    def command(self) -> list[str]:
        write_certificate(self.folder)
        return super().command()

    @property
    def worker(self) -> psutil.Process:
        """The process that serves."""
        return psutil.Process(self.status()["workers"][0]["pid"])

    def connections(self) -> int:
        """How many connections the worker has."""
        number: int = self.status()["workers"][0]["connections"]
        return number


@dataclass(frozen=True, slots=True)
class Sample:
    """The worker at one moment: the memory that is its own, and the CPU that it has used."""

    memory_bytes: int
    cpu_s: float
    connections: int


@dataclass(frozen=True, slots=True)
class Measurement:
    """The worker before, right after the last connection was opened, and after some idle time."""

    wanted: int
    opening_s: float
    before: Sample
    opened: Sample
    idle: Sample

    @property
    def count(self) -> int:
        """Connections that were opened."""
        return self.opened.connections - self.before.connections

    @property
    def lost(self) -> int:
        """Connections that did not stay while they were idle."""
        return self.opened.connections - self.idle.connections

    def bytes_each(self, sample: Sample) -> float:
        """Memory that each connection has cost up to ``sample``, in bytes."""
        return (sample.memory_bytes - self.before.memory_bytes) / max(self.count, 1)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures and prints; the exit code."""
    options = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="sipshard-idle-"))
    try:
        with TlsSipshard(folder) as server:
            measurement = measure(server, options.connections, options.idle)
    except (ServerError, OSError, EOFError) as error:
        print(f"idle connections: {error or type(error).__name__}, see {folder}", file=sys.stderr)
        return 1
    print(render(measurement, options.idle))
    is_cheap = measurement.bytes_each(measurement.idle) <= options.limit * 1000
    if not is_cheap:
        print(f"a connection costs more than {options.limit} kB", file=sys.stderr)
    return 0 if is_cheap and not measurement.lost else 1


def measure(server: TlsSipshard, wanted: int, idle_s: float) -> Measurement:
    """Opens as many connections as the open files of the worker allow, up to ``wanted``."""
    worker = server.worker
    count = min(wanted, _descriptors_left(worker))
    before = _sample(server, worker)
    began = time.monotonic()
    with clients(server.port, count):
        opening_s = time.monotonic() - began
        opened = _sample(server, worker)
        time.sleep(idle_s)
        idle = _sample(server, worker)
    return Measurement(wanted, opening_s, before, opened, idle)


@contextmanager
def clients(port: int, count: int) -> Iterator[None]:
    """Holds ``count`` idle connections to ``port``. Raises EOFError when a client has failed."""
    context = multiprocessing.get_context("spawn")
    processes, pipes = [], []
    try:
        for number, first in enumerate(range(0, count, CONNECTIONS_PER_CLIENT)):
            ours, theirs = context.Pipe()
            share = min(CONNECTIONS_PER_CLIENT, count - first)
            # All of 127.0.0.0/8 is this machine.
            arguments = (f"127.0.0.{number + 2}", port, share, theirs)
            process = context.Process(target=hold_connections, args=arguments)
            process.start()
            theirs.close()
            processes.append(process)
            pipes.append(ours)
        for pipe in pipes:
            if not pipe.poll(OPEN_TIMEOUT_S):
                raise EOFError(f"connections were not open after {OPEN_TIMEOUT_S:.0f} s")
            pipe.recv()
        yield
    finally:
        for pipe in pipes:
            pipe.close()
        for process in processes:
            process.join(10.0)
            process.kill()


def hold_connections(source: str, port: int, count: int, pipe: Connection) -> None:
    """One client process: opens the connections, says so, and holds them until ``pipe`` closes."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    held = [_open(context, source, port) for _ in range(count)]
    pipe.send(len(held))
    # Nothing is ever sent this way: it ends with the parent's end of the pipe.
    pipe.poll(None)


def _open(context: ssl.SSLContext, source: str, port: int) -> ssl.SSLSocket:
    plain = socket.create_connection((HOST, port), CONNECT_TIMEOUT_S, (source, 0))
    connection = context.wrap_socket(plain)
    connection.sendall(_options(*connection.getsockname()))
    answer = connection.recv(65535)
    if not answer.startswith(b"SIP/2.0 200 "):
        raise ConnectionError(f"OPTIONS was answered by {answer[:40]!r}")
    return connection


def _options(host: str, port: int) -> bytes:
    lines = [
        f"OPTIONS sip:{HOST} SIP/2.0",
        f"Via: SIP/2.0/TLS {host}:{port};branch=z9hG4bK{time.monotonic_ns()};rport",
        "Max-Forwards: 70",
        f"From: <sip:idle@{HOST}>;tag={port}",
        f"To: <sip:{HOST}>",
        f"Call-ID: {port}@{host}",
        "CSeq: 1 OPTIONS",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def write_certificate(folder: Path) -> None:
    """Writes a self-signed certificate of ``HOST`` as ``cert.pem`` and its key as ``key.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=key.public_key(),
        serial_number=x509.random_serial_number(),
        not_valid_before=now - timedelta(days=1),
        not_valid_after=now + timedelta(days=1),
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    certificate = builder.sign(key, hashes.SHA256())
    encoding = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(encoding))
    private = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "key.pem").write_bytes(private)


def render(measurement: Measurement, idle_s: float) -> str:
    """The figures in Markdown."""
    count, before, opened = measurement.count, measurement.before, measurement.opened
    asked = f"{measurement.wanted:,}"
    if count < measurement.wanted:
        asked = f"{count:,} of {asked}: the limit of open files of this machine"
    opened_kb, idle_kb = (measurement.bytes_each(at) / 1000 for at in (opened, measurement.idle))
    cpu_us = (opened.cpu_s - before.cpu_s) * 1e6 / max(count, 1)
    return f"""\
{datetime.now(UTC):%Y-%m-%d %H:%M UTC}, {machine()}. One worker, idle TLS connections ({asked}).

- memory of the worker for each: {opened_kb:.1f} kB when all were open, {idle_kb:.1f} kB after \
{idle_s:.0f} s
- opened at {count / measurement.opening_s:.0f}/s, by clients on the same CPUs
- CPU of the worker for each, TLS handshake and one OPTIONS: {cpu_us:.0f} µs
- lost while idle: {measurement.lost}
"""


def _descriptors_left(worker: psutil.Process) -> int:
    """How many connections the worker's limit of open files leaves."""
    _, hard_limit = resource.prlimit(worker.pid, resource.RLIMIT_NOFILE)
    return hard_limit - worker.num_fds() - SPARE_FILES


def _sample(server: TlsSipshard, worker: psutil.Process) -> Sample:
    memory, times = worker.memory_full_info(), worker.cpu_times()
    return Sample(memory.uss + memory.swap, times.user + times.system, server.connections())


def _parser() -> argparse.ArgumentParser:
    summary = __doc__.splitlines()[0]
    parser = argparse.ArgumentParser(prog="loadtest.idle_connections", description=summary)
    add = parser.add_argument
    add("--connections", type=int, default=20_000, help="connections to open (20000)")
    add("--idle", type=float, default=10.0, help="seconds of silence (10)")
    add("--limit", type=float, default=20.0, help="kB that each may cost, for the exit code (20)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
