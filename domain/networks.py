"""Client addresses as keys of limits."""

import ipaddress

IPV6_SITE_BITS = 64  # one subscriber has at least that many addresses to choose from


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
