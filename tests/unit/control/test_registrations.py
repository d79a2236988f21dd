"""Registrations page by page, from a real table."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from sipshard.control.protocol import RegistrationsRequest, RequestError
from sipshard.control.registrations import registrations
from sipshard.registrar.binding import Binding
from sipshard.registrar.location import LocationService
from sipshard.registrar.transaction import WriteTransaction

NOW_S = 1_000_000


def store(aor: str, transaction: WriteTransaction) -> None:
    user = aor.partition("@")[0]
    binding = Binding(f"sip:{user}@192.0.2.1", 500, NOW_S + 60, "call", 7, path=("<sip:p;lr>",))
    transaction.store(aor.encode(), None, (binding,))


@pytest.fixture
def location(tmp_path: Path) -> Iterator[LocationService]:
    service = LocationService(tmp_path, map_size_bytes=1 << 20, clock=lambda: NOW_S)
    for user in "abcde":
        service.write(partial(store, f"{user}@example.com"))
    yield service
    service.close()


def test_a_page_after_the_other_shows_everybody_once(location: LocationService) -> None:
    shown: list[str] = []
    after: str | None = None
    for _ in range(3):
        answer = registrations(location, RegistrationsRequest(None, 2, after), NOW_S)
        shown += [entry["aor"] for entry in answer["registrations"]]
        after = answer["next"]
    assert shown == [f"{user}@example.com" for user in "abcde"]
    assert after is None


def test_one_address_of_record(location: LocationService) -> None:
    answer = registrations(location, RegistrationsRequest("c@example.com"), NOW_S + 1)
    assert answer == {
        "registrations": [
            {
                "aor": "c@example.com",
                "bindings": [
                    {
                        "uri": "sip:c@192.0.2.1",
                        "q": 0.5,
                        "expires_s": 59,
                        "call_id": "call",
                        "cseq": 7,
                        "path": ["<sip:p;lr>"],
                        "instance": None,
                        "reg_id": None,
                        "parameters": "",
                    }
                ],
            }
        ],
        "next": None,
    }


def test_nobody(location: LocationService) -> None:
    answer = registrations(location, RegistrationsRequest("z@example.com"), NOW_S)
    assert answer == {"registrations": [], "next": None}


@pytest.mark.parametrize("written", ["c@EXAMPLE.com", "sip:c@example.com", "SIP:%63@Example.com"])
def test_an_address_of_record_is_found_however_it_is_written(
    location: LocationService, written: str
) -> None:
    answer = registrations(location, RegistrationsRequest(written), NOW_S)
    assert [entry["aor"] for entry in answer["registrations"]] == ["c@example.com"]


def test_a_name_as_the_pages_show_it_is_found_without_reading_it_as_a_uri(
    location: LocationService,
) -> None:
    location.write(partial(store, "a%41\0@example.com"))
    answer = registrations(location, RegistrationsRequest("a%41\0@example.com"), NOW_S)
    assert [entry["aor"] for entry in answer["registrations"]] == ["a%41\0@example.com"]


def test_what_is_no_address_of_record_is_an_error(location: LocationService) -> None:
    with pytest.raises(RequestError, match="no address-of-record"):
        registrations(location, RegistrationsRequest("sip:"), NOW_S)
