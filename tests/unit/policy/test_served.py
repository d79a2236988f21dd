"""Which URIs are ours."""

from __future__ import annotations

import pytest

from sipshard import Uri
from sipshard.policy.served import ServedDomains, unsupported_extensions
from sipshard.testing import request

SERVED = ServedDomains(
    ["Example.com", "192.0.2.9", "2001:db8::9"],
    [("192.0.2.1", 5060), ("192.0.2.1", 5070), ("2001:db8::1", 5060), ("edge.example.net", 5061)],
)


@pytest.mark.parametrize(
    "uri",
    [
        "sip:a@example.com",
        "sip:a@EXAMPLE.com:5070",
        "sips:a@example.com",
        "sip:192.0.2.9",
        "sip:[2001:db8::9]",
        "sip:192.0.2.1",
        "sip:a@192.0.2.1:5070",
        "sip:[2001:DB8::1]",
        "sips:edge.example.net",
    ],
)
def test_ours(uri: str) -> None:
    assert SERVED.serves(Uri.parse(uri))


@pytest.mark.parametrize(
    "uri",
    [
        "sip:a@example.org",
        "sip:a@sub.example.com",
        "sip:a@example.com:9",
        "sips:192.0.2.1",
        "sip:192.0.2.1:5080",
        "sip:edge.example.net",
        "tel:+15551234",
    ],
)
def test_foreign(uri: str) -> None:
    assert not SERVED.serves(Uri.parse(uri))


def test_required_extensions_that_we_do_not_know() -> None:
    """RFC 3261 §8.2.2.3"""
    assert unsupported_extensions(request()) == []
    several = request(headers=[("Require", "path, 100rel"), ("Require", "timer")])
    assert unsupported_extensions(several) == ["100rel", "timer"]
