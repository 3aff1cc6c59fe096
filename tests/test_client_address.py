"""Whose request it is: the address that limits are counted under, whatever the request claims."""

import ipaddress

import pytest

from domain.networks import limit_key
from graph.context import client_address

PROXY = "10.0.0.1"
TRUSTED = tuple(ipaddress.ip_network(network) for network in ("10.0.0.0/8", "fd00::/8", "::1/128"))
MAX_ADDRESS_LENGTH = 45  # what a session's and an audit event's column hold


@pytest.mark.parametrize("peer", ["198.51.100.7", "2001:db8::7", "11.0.0.1"])
@pytest.mark.parametrize("forwarded", [[], ["203.0.113.9"], ["10.0.0.1"], ["203.0.113.9, 10.0.0.1"], ["127.0.0.1"]])
def test_whoever_is_no_proxy_of_ours_cannot_claim_another_address(peer: str, forwarded: list[str]) -> None:
    assert client_address(peer, forwarded, TRUSTED) == peer
    assert client_address(peer, forwarded, ()) == peer
    assert client_address(PROXY, forwarded, ()) == PROXY


BEHIND_PROXIES = [
    ([], PROXY),
    ([""], PROXY),
    (["203.0.113.9"], "203.0.113.9"),
    ([" 203.0.113.9 "], "203.0.113.9"),
    (["2001:DB8:0::0009"], "2001:db8::9"),
    # What the client wrote itself stands before what the proxy added.
    (["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
    (["1.1.1.1", "2.2.2.2", "203.0.113.9"], "203.0.113.9"),
    (["10.0.0.9, 203.0.113.9"], "203.0.113.9"),
    (["nonsense, 203.0.113.9"], "203.0.113.9"),
    (["x" * 10_000 + ", 203.0.113.9"], "203.0.113.9"),
    # Several proxies of ours, one after the other.
    (["203.0.113.9, 10.0.0.2"], "203.0.113.9"),
    (["203.0.113.9", "fd00::2, 10.0.0.2"], "203.0.113.9"),
    (["1.1.1.1, 203.0.113.9, 10.0.0.3, 10.0.0.2"], "203.0.113.9"),
    (["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    # A proxy on a socket for both protocols writes IPv4 like this.
    (["::ffff:203.0.113.9"], "203.0.113.9"),
    (["203.0.113.9, ::ffff:10.0.0.2"], "203.0.113.9"),
    # What is no address is nobody's: it counts as the last proxy that is known.
    (["nonsense"], PROXY),
    (["203.0.113.9, unknown"], PROXY),
    (["203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
    (["203.0.113.9, 300.0.0.1"], PROXY),
    (["203.0.113.9, <script>"], PROXY),
    (["fe80::1%" + "x" * 200], PROXY),
    (["fe80::1%'; DROP TABLE users"], PROXY),
]


@pytest.mark.parametrize(("forwarded", "expected"), BEHIND_PROXIES)
def test_behind_our_proxies_the_last_address_that_is_not_ours_counts(forwarded: list[str], expected: str) -> None:
    found = client_address(PROXY, forwarded, TRUSTED)
    assert found == expected
    assert len(found) <= MAX_ADDRESS_LENGTH


@pytest.mark.parametrize(
    ("peer", "expected"),
    [("::1", "203.0.113.9"), ("fd00::1", "203.0.113.9"), ("::ffff:10.0.0.1", "203.0.113.9"), ("fe80::1", "fe80::1")],
)
def test_a_proxy_is_known_by_either_protocol(peer: str, expected: str) -> None:
    assert client_address(peer, ["203.0.113.9"], TRUSTED) == expected


def test_a_client_on_a_socket_for_both_protocols_has_its_ipv4_address() -> None:
    assert client_address("::ffff:198.51.100.7", [], TRUSTED) == "198.51.100.7"


def test_a_client_without_an_address_is_unknown() -> None:
    assert client_address("", [], TRUSTED) == "unknown"
    assert client_address("", ["203.0.113.9"], TRUSTED) == "unknown"


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("", "unknown"),
        ("198.51.100.7:443", "unknown"),
        ("x" * 10_000, "unknown"),
    ],
)
def test_a_limit_counts_an_ipv4_address_or_an_ipv6_site(address: str, key: str) -> None:
    assert limit_key(address) == key
    assert len(key) <= MAX_ADDRESS_LENGTH
