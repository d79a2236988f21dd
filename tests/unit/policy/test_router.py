"""Handlers are found by method and get what they ask for by name."""

from __future__ import annotations

from typing import Any

import pytest

from sipshard import Reject, Router
from sipshard.policy.router import fill_in, services_wanted

SERVICES = {"location": "the location", "server": "the server"}


def test_a_method_finds_its_handler_and_the_star_all_others() -> None:
    router = Router()

    @router.request("INVITE", "MESSAGE")
    def call(request: Any) -> Reject:
        return Reject(480)

    @router.request("*")
    def other(request: Any) -> Reject:
        return Reject(403)

    assert router.handler_for("MESSAGE") is call
    assert router.handler_for("INFO") is other
    assert router.handler_for("invite") is other
    assert router.methods == ("INVITE", "MESSAGE")
    assert router.handles_any


def test_without_a_handler_there_is_none() -> None:
    assert Router().handler_for("INVITE") is None


@pytest.mark.parametrize("methods", [(), ("invite",), ("IN VITE",), ("",)])
def test_what_is_no_method_is_an_error(methods: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"method"):
        Router().request(*methods)


def test_a_second_handler_for_a_method_is_an_error() -> None:
    router = Router()
    router.request("BYE")(lambda request: None)
    with pytest.raises(ValueError, match="BYE has a handler already"):
        router.request("BYE")


def test_services_are_given_by_name_in_any_order() -> None:
    router = Router()
    router.request("INVITE")(lambda request, server, location: (request, server, location))
    router.request("BYE")(lambda request: request)
    bound = router.bind(SERVICES)
    assert bound["INVITE"]("a request") == ("a request", "the server", "the location")
    assert bound["BYE"]("a request") == "a request"


def test_a_failure_handler_gets_request_and_response_first() -> None:
    ready = fill_in(
        lambda request, response, *, location: (request, response, location), SERVICES, 2
    )
    assert ready("a request", "a response") == ("a request", "a response", "the location")


def test_a_parameter_with_a_default_may_be_called_anything() -> None:
    assert services_wanted(lambda request, extra=1, location=None: None, 1) == ("location",)


@pytest.mark.parametrize(
    ("handler", "positional", "problem"),
    [
        (lambda: None, 1, r"must take \(request\) first"),
        (lambda *, request: None, 1, r"must take \(request\) first"),
        (lambda request: None, 2, r"must take \(request, response\) first"),
        (lambda request, locaton: None, 1, "asks for 'locaton'"),
        (lambda request, location, /: None, 1, "asks for 'location'"),
    ],
)
def test_a_handler_that_cannot_be_called_is_an_error(
    handler: Any, positional: int, problem: str
) -> None:
    with pytest.raises(TypeError, match=problem):
        services_wanted(handler, positional)


def test_it_is_an_error_when_it_is_registered() -> None:
    with pytest.raises(TypeError, match="database"):
        Router().request("INVITE")(lambda request, database: None)
