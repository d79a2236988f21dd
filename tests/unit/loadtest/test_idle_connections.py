"""What the measurement of idle connections says, from figures that are made up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cryptography import x509

from loadtest.idle_connections import Measurement, Sample, render, write_certificate

MEASUREMENT = Measurement(
    wanted=1000,
    opening_s=2.0,
    before=Sample(memory_bytes=50_000_000, cpu_s=1.0, connections=0),
    opened=Sample(memory_bytes=60_000_000, cpu_s=1.5, connections=1000),
    idle=Sample(memory_bytes=58_000_000, cpu_s=1.5, connections=999),
)


def test_memory_and_cpu_are_what_has_been_added_for_each_connection() -> None:
    text = render(MEASUREMENT, 10.0)
    assert "10.0 kB when all were open, 8.0 kB after 10 s" in text
    assert "opened at 500/s" in text
    assert "OPTIONS: 500 µs" in text
    assert MEASUREMENT.lost == 1 and "lost while idle: 1" in text


def test_fewer_connections_than_wanted_are_explained() -> None:
    assert "idle TLS connections (1,000)." in render(MEASUREMENT, 10.0)
    text = render(replace(MEASUREMENT, wanted=20_000), 10.0)
    assert "(1,000 of 20,000: the limit of open files of this machine)" in text


def test_the_certificate_is_one(tmp_path: Path) -> None:
    write_certificate(tmp_path)
    certificate = x509.load_pem_x509_certificate((tmp_path / "cert.pem").read_bytes())
    certificate.verify_directly_issued_by(certificate)
    assert b"PRIVATE KEY" in (tmp_path / "key.pem").read_bytes()
