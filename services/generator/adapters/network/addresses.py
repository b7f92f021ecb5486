"""Which addresses are the open internet's, which a private network's, and which nobody's: tables of our own.

What an interpreter calls global differs between its versions and follows IANA's "globally reachable", which tunnels,
protocol assignments and platforms' own addresses are, too. Sources: IANA's special-purpose address registries of IPv4
and IPv6 (RFC 6890), and the documentation of the platforms.
"""

import ipaddress
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*written: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(one) for one in written)


#: Unicast addresses that are given out in IPv6; in IPv4, all that is not below.
_GIVEN_OUT = ipaddress.IPv6Network("2000::/3")
_SPECIAL = _networks(
    "0.0.0.0/8",  # this network
    "10.0.0.0/8",  # private
    "100.64.0.0/10",  # shared by carriers; 100.100.100.200 is Alibaba Cloud's metadata
    "127.0.0.0/8",  # loopback
    "169.254.0.0/16",  # link-local: metadata of most platforms
    "172.16.0.0/12",  # private
    "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is Oracle Cloud's metadata
    "192.0.2.0/24",  # documentation
    "192.31.196.0/24",  # AS112
    "192.52.193.0/24",  # AMT
    "192.88.99.0/24",  # relays of 6to4
    "192.168.0.0/16",  # private
    "192.175.48.0/24",  # AS112
    "198.18.0.0/15",  # benchmarks
    "198.51.100.0/24",  # documentation
    "203.0.113.0/24",  # documentation
    "224.0.0.0/4",  # multicast
    "240.0.0.0/4",  # reserved, and broadcast
    "168.63.129.16/32",  # Azure's own services
    "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID, AMT, AS112
    "2001:db8::/32",  # documentation
    "2002::/16",  # 6to4
    "2620:4f:8000::/48",  # AS112
    "3fff::/20",  # documentation
)
#: Networks that an operator may let results lie in.
_PRIVATE = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"
)  # fmt: skip
#: Metadata of platforms inside of those.
_METADATA = _networks("100.100.100.200/32", "fd00:ec2::254/128", "fd20:ce::254/128")
#: Interface identifiers of ISATAP, which end in an address of IPv4.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def is_public(written: str) -> bool:
    """Whether an address is one of the open internet; none is that holds an address of another family."""
    address = _address(written)
    if address is None or _is_in(address, _SPECIAL):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address in _GIVEN_OUT and (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP
    return True


def is_private(written: str) -> bool:
    """Whether an address is of a network that somebody may run for themselves, and no platform's metadata."""
    address = _address(written)
    return address is not None and _is_in(address, _PRIVATE) and not _is_in(address, _METADATA)


def private_network(written: str) -> Network | None:
    """The private network that is written as CIDR or as one address; None for what is no network at all.

    Raises `ValueError` for a network that is not private.
    """
    try:
        network = ipaddress.ip_network(written)
    except ValueError:
        return None
    if not any(_holds(one, network) for one in _PRIVATE):
        raise ValueError(f"{written} is no private network")
    return network


def is_within(written: str, networks: Sequence[Network]) -> bool:
    """Whether an address lies in one of the networks."""
    address = _address(written)
    return address is not None and _is_in(address, networks)


def _address(written: str) -> Address | None:
    """None for an address with a zone, which is of one link, and for what is no address."""
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _holds(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.network_address in outer and inner.broadcast_address in outer
