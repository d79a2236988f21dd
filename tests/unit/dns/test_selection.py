"""RFC 3263 against a real name server: which transport, port and address a URI leads to."""

from __future__ import annotations

import dns.rcode
import pytest

from sipshard.workers.dns.location import Hop, LookupFailedError
from tests.name_server import Zone
from tests.unit.dns.conftest import Network

DOMAIN = "example.net"


def add_pbx(zone: Zone, ttl_s: int = 600) -> None:
    zone.add("pbx.example.net", "A", "192.0.2.20", ttl_s=ttl_s)
    zone.add("pbx.example.net", "AAAA", "2001:db8::20", ttl_s=ttl_s)


def reached(network: Network, transport: str = "", *, is_secure: bool = False) -> list[str]:
    """The ways to the domain, in short."""
    hops = network.locate(DOMAIN, transport=transport, is_secure=is_secure).hops
    return [f"{hop.priority} {hop.transport}:{hop.address}:{hop.port}" for hop in hops]


def test_section_4_1_naptr_leads_to_srv_and_srv_to_addresses(network: Network) -> None:
    network.zone.add(
        DOMAIN,
        "NAPTR",
        '50 50 "s" "SIPS+D2T" "" _sips._tcp.example.net.',
        '90 50 "s" "SIP+D2T" "" _sip._tcp.example.net.',
        '40 50 "s" "SIP+D2S" "" _sip._sctp.example.net.',
        '40 50 "u" "E2U+sip" "!^.*$!sip:x@example.net!" .',
    )
    network.zone.add("_sips._tcp.example.net", "SRV", "0 1 5071 pbx.example.net.")
    add_pbx(network.zone)
    assert sorted(reached(network)) == ["0 tls:192.0.2.20:5071", "0 tls:2001:db8::20:5071"]
    assert ("_sip._tcp.example.net", "SRV") not in network.zone.asked, "a higher order"


def test_section_4_1_naptr_of_one_order_are_ways_in_order_of_preference(network: Network) -> None:
    network.zone.add(
        DOMAIN,
        "NAPTR",
        '10 20 "S" "sip+d2u" "" udp.example.net.',
        '10 10 "s" "SIP+D2T" "" tcp.example.net.',
    )
    network.zone.add("udp.example.net", "SRV", "0 1 5060 pbx.example.net.")
    network.zone.add("tcp.example.net", "SRV", "7 1 5060 pbx.example.net.")
    network.zone.add("pbx.example.net", "A", "192.0.2.20")
    assert reached(network) == ["0 tcp:192.0.2.20:5060", "1 udp:192.0.2.20:5060"]


def test_section_4_1_only_transports_that_we_speak_are_taken(network: Network) -> None:
    network.listeners = {"udp": frozenset({4})}
    network.zone.add(
        DOMAIN,
        "NAPTR",
        '10 10 "s" "SIP+D2T" "" _sip._tcp.example.net.',
        '20 10 "s" "SIP+D2U" "" _sip._udp.example.net.',
    )
    network.zone.add("_sip._udp.example.net", "SRV", "0 1 5060 pbx.example.net.")
    add_pbx(network.zone)
    assert reached(network) == ["0 udp:192.0.2.20:5060"]
    assert ("pbx.example.net", "AAAA") not in network.zone.asked, "no listener for it"
    assert reached(network, "tcp") == []


def test_section_4_1_without_naptr_every_transport_is_asked_for_srv(network: Network) -> None:
    network.zone.add("_sip._tcp.example.net", "SRV", "0 1 5080 pbx.example.net.")
    network.zone.add("_sips._tcp.example.net", "SRV", "0 1 5061 pbx.example.net.")
    network.zone.add("pbx.example.net", "A", "192.0.2.20")
    assert reached(network) == ["0 tcp:192.0.2.20:5080", "1 tls:192.0.2.20:5061"]


def test_section_4_1_sips_goes_over_tls_only(network: Network) -> None:
    network.zone.add(
        DOMAIN,
        "NAPTR",
        '10 10 "s" "SIP+D2U" "" _sip._udp.example.net.',
        '20 10 "s" "SIPS+D2T" "" secure.example.net.',
    )
    network.zone.add("_sip._udp.example.net", "SRV", "0 1 5060 pbx.example.net.")
    network.zone.add("secure.example.net", "SRV", "0 1 5062 pbx.example.net.")
    network.zone.add("pbx.example.net", "A", "192.0.2.20")
    assert reached(network, is_secure=True) == ["0 tls:192.0.2.20:5062"]
    assert reached(network, "udp", is_secure=True) == []
    # §4.1: transport=tcp in a sips URI means TLS over TCP.
    network.zone.add("_sips._tcp.example.net", "SRV", "0 1 5063 pbx.example.net.")
    assert reached(network, "tcp", is_secure=True) == ["0 tls:192.0.2.20:5063"]


def test_section_4_1_a_transport_in_the_uri_needs_no_naptr(network: Network) -> None:
    network.zone.add("_sip._tcp.example.net", "SRV", "0 1 5080 pbx.example.net.")
    network.zone.add("pbx.example.net", "A", "192.0.2.20")
    assert reached(network, "tcp") == ["0 tcp:192.0.2.20:5080"]
    assert (DOMAIN, "NAPTR") not in network.zone.asked


@pytest.mark.parametrize(
    ("transport", "is_secure", "expected"),
    [
        ("", False, "udp:5060"),
        ("tcp", False, "tcp:5060"),
        ("tls", False, "tls:5061"),
        ("", True, "tls:5061"),
    ],
)
def test_section_4_2_without_srv_the_name_itself_has_the_address(
    network: Network, transport: str, is_secure: bool, expected: str
) -> None:
    network.zone.add(DOMAIN, "A", "192.0.2.30")
    protocol, port = expected.split(":")
    expectation = [f"0 {protocol}:192.0.2.30:{port}"]
    assert reached(network, transport, is_secure=is_secure) == expectation


def test_section_4_2_a_port_in_the_uri_needs_addresses_only(network: Network) -> None:
    add_pbx(network.zone)
    hops = network.locate("pbx.example.net", 5070).hops
    assert [hop.address for hop in hops] == ["192.0.2.20", "2001:db8::20"]
    assert {(hop.transport, hop.port) for hop in hops} == {("udp", 5070)}
    assert {record_type for _, record_type in network.zone.asked} == {"A", "AAAA"}
    hops = network.locate("pbx.example.net", 5070, is_secure=True).hops
    assert {hop.transport for hop in hops} == {"tls"}


def test_rfc_2782_priorities_and_weights(network: Network) -> None:
    network.zone.add(
        "_sip._udp.example.net",
        "SRV",
        "20 0 5060 backup.example.net.",
        "10 60 5060 big.example.net.",
        "10 21 5060 pbx.example.net.",
    )
    network.zone.add("big.example.net", "A", "192.0.2.1")
    network.zone.add("backup.example.net", "A", "192.0.2.9")
    add_pbx(network.zone)
    hops = set(network.locate(DOMAIN, transport="udp").hops)
    assert hops == {
        Hop("udp", "192.0.2.1", 5060, 0, 60),
        # Two addresses share the weight of their server.
        Hop("udp", "192.0.2.20", 5060, 0, 10),
        Hop("udp", "2001:db8::20", 5060, 0, 11),
        Hop("udp", "192.0.2.9", 5060, 1, 0),
    }


def test_rfc_2782_a_dot_means_that_there_is_no_such_service(network: Network) -> None:
    network.zone.add("_sip._udp.example.net", "SRV", "0 0 0 .")
    network.zone.add(DOMAIN, "A", "192.0.2.30")
    assert reached(network, "udp") == []
    assert (DOMAIN, "A") not in network.zone.asked, "§4.2 does not apply"
    network.zone.add("_sip._tcp.example.net", "SRV", "0 0 5060 pbx.example.net.")
    network.zone.add("pbx.example.net", "A", "192.0.2.20")
    assert reached(network) == ["0 tcp:192.0.2.20:5060"]


def test_a_name_that_does_not_exist_is_kept_as_long_as_its_soa_says(network: Network) -> None:
    location = network.locate("nobody.example.net")
    assert location == ([], 77)
    network.zone.negative_ttl_s = 100_000
    assert network.locate("nobody.example.net").ttl_s == 300


@pytest.mark.parametrize(("ttl_s", "kept_s"), [(0, 5), (60, 60), (100_000, 3600)])
def test_what_exists_is_kept_as_long_as_its_shortest_record(
    network: Network, ttl_s: int, kept_s: int
) -> None:
    network.zone.add("_sip._udp.example.net", "SRV", "0 0 5060 pbx.example.net.", ttl_s=200_000)
    add_pbx(network.zone, ttl_s)
    assert network.locate(DOMAIN, transport="udp").ttl_s == kept_s


@pytest.mark.parametrize("rcode", [dns.rcode.SERVFAIL, dns.rcode.REFUSED])
def test_a_failing_server_says_nothing_about_the_name(
    network: Network, rcode: dns.rcode.Rcode
) -> None:
    network.zone.rcodes["*"] = rcode
    with pytest.raises(LookupFailedError):
        network.locate(DOMAIN)


def test_a_silent_server_says_nothing_about_the_name(network: Network) -> None:
    network.zone.silent.add("*")
    network.timeout_s, network.attempt_timeout_s = 0.2, 0.05
    with pytest.raises(LookupFailedError):
        network.locate(DOMAIN)


def test_without_any_server_nothing_is_known(network: Network) -> None:
    network.zones = []
    with pytest.raises(LookupFailedError):
        network.locate(DOMAIN)


def test_a_lame_first_server_is_passed_over(network: Network) -> None:
    network.zones = [Zone(rcodes={"*": dns.rcode.REFUSED}), Zone()]
    add_pbx(network.zones[1])
    assert len(network.locate("pbx.example.net").hops) == 2


def test_questions_for_naptr_that_are_lost_do_not_take_the_time_of_the_others(
    network: Network,
) -> None:
    network.zone.silent.add("NAPTR")
    network.timeout_s, network.attempt_timeout_s = 0.4, 0.1
    network.zone.add("_sip._udp.example.net", "SRV", "0 0 5060 pbx.example.net.")
    network.zone.add("pbx.example.net", "A", "192.0.2.20")
    assert reached(network) == ["0 udp:192.0.2.20:5060"]


def test_one_address_family_whose_questions_fail_is_left_out(network: Network) -> None:
    network.zone.silent.add("AAAA")
    network.timeout_s, network.attempt_timeout_s = 0.2, 0.05
    add_pbx(network.zone)
    hops = network.locate("pbx.example.net", 5060).hops
    assert [hop.address for hop in hops] == ["192.0.2.20"]


def test_an_srv_target_that_fails_does_not_spoil_the_others(network: Network) -> None:
    targets = ("0 0 5060 broken.example.net.", "0 0 5060 pbx.example.net.")
    network.zone.add("_sip._udp.example.net", "SRV", *targets)
    network.zone.add("pbx.example.net", "A", "192.0.2.20")
    network.zone.rcodes["broken.example.net"] = dns.rcode.SERVFAIL
    assert reached(network, "udp") == ["0 udp:192.0.2.20:5060"]


def test_aliases_are_followed(network: Network) -> None:
    network.zone.add("www.example.net", "CNAME", "pbx.example.net.", ttl_s=30)
    add_pbx(network.zone)
    location = network.locate("www.example.net", 5060)
    assert len(location.hops) == 2
    assert location.ttl_s == 30


def test_an_answer_that_was_cut_is_asked_for_again_over_tcp(network: Network) -> None:
    network.zone.is_truncating = True
    network.zone.add("pbx.example.net", "A", *(f"192.0.2.{number}" for number in range(20)))
    assert len(network.locate("pbx.example.net", 5060).hops) == 20
    assert network.zone.streams == 2


def test_ways_are_bounded(network: Network) -> None:
    targets = [f"{number} 0 5060 server{number}.example.net." for number in range(40)]
    network.zone.add("_sip._udp.example.net", "SRV", *targets)
    for number in range(40):
        addresses = [f"192.0.2.{address}" for address in range(1, 11)]
        network.zone.add(f"server{number}.example.net", "A", *addresses)
    hops = network.locate(DOMAIN, transport="udp").hops
    assert len(hops) == 10, "the same address and port is one way"
    assert len([each for each in network.zone.asked if each[1] == "A"]) == 16
    network.zone.add(DOMAIN, "A", *(f"192.0.2.{number}" for number in range(100)))
    assert len(network.locate(DOMAIN, 5060).hops) == 32


def test_the_hosts_file_comes_first(network: Network) -> None:
    network.hosts.write_text("192.0.2.99 Pbx.Example.net pbx # ours\n2001:db8::99 pbx\n")
    add_pbx(network.zone)
    expected = ([Hop("udp", "192.0.2.99", 5060, 0, 0)], 60)
    assert network.locate("pbx.example.NET.") == expected
    assert not network.zone.asked
    network.listeners = {"udp": frozenset({6})}
    assert [hop.address for hop in network.locate("pbx").hops] == ["2001:db8::99"]


def test_an_srv_target_may_stand_in_the_hosts_file(network: Network) -> None:
    network.hosts.write_text("192.0.2.99 pbx.example.net\n")
    network.zone.add("_sip._udp.example.net", "SRV", "0 0 5066 pbx.example.net.")
    assert reached(network, "udp") == ["0 udp:192.0.2.99:5066"]


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example.net", "a." * 130])
def test_what_cannot_be_a_name_does_not_exist(network: Network, host: str) -> None:
    assert network.locate(host, 5060) == ([], 300)
    assert network.locate(host).hops == []
    assert not network.zone.asked
