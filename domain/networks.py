"""Client addresses: as keys of limits, and whether they are out of networks that somebody allowed."""

import functools
import ipaddress
from collections.abc import Sequence

from domain.settings import Network

IPV6_SITE_BITS = 64  # one subscriber has at least that many addresses to choose from
IPV4_BLOCK_BITS = 24
IPV6_BLOCK_BITS = 48  # what one customer of a provider or a data centre gets
PARSED = 4096  # networks kept at hand, since those that a practice allows are asked about on each request


def limit_key(ip_address: str) -> str:
    """What a limit per client is counted under: an IPv4 address, or the /64 that an IPv6 address is out of."""
    try:
        address = ipaddress.ip_address(ip_address)
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address) >> 64 << 64, IPV6_SITE_BITS)))
    return str(address)


def block(ip_address: str) -> str:
    """The neighbourhood of an address, the /24 or the /48 that it is out of, for limits on what whole networks may cost."""
    try:
        address = ipaddress.ip_address(limit_key(ip_address).partition("/")[0])
    except ValueError:
        return "unknown"
    bits = IPV6_BLOCK_BITS if isinstance(address, ipaddress.IPv6Address) else IPV4_BLOCK_BITS
    return str(ipaddress.ip_network(f"{address}/{bits}", strict=False))


@functools.lru_cache(PARSED)
def parsed(text: str) -> Network:
    """A network in CIDR. Raises ValueError."""
    return ipaddress.ip_network(text)


def are_home_to(allowed: Sequence[Network], ip_address: str) -> bool:
    """Whether an address is out of one of these networks; every address is when there are none."""
    if not allowed:
        return True
    try:
        address = ipaddress.ip_address(ip_address)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return any(address in network for network in allowed)
