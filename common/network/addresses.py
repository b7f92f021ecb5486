"""Tables of IP networks: which addresses are public, which are private, and which may never be reached.

Python's `is_global` is not used: it differs between versions and follows IANA's "globally reachable", which includes
tunnels, protocol assignments and the cloud platforms' own addresses. Sources: IANA's special-purpose address registries
of IPv4 and IPv6 (RFC 6890), and the documentation of the platforms.
"""

import ipaddress
import socket
from collections.abc import Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*written: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in written)


#: Allocated unicast addresses of IPv6; in IPv4, all that are not in `_SPECIAL`.
_ALLOCATED = ipaddress.IPv6Network("2000::/3")
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
#: Networks that an operator may allow.
_PRIVATE = _networks(
    "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"
)  # fmt: skip
#: Metadata services of cloud platforms inside private networks.
_METADATA = _networks(
    "100.100.100.200/32",  # Alibaba Cloud
    "fd00:ec2::/32",  # AWS: metadata, credentials of pods, time, names
    "fd00:c1::a9fe:a9fe/128",  # Oracle Cloud
    "fd00:42::42/128",  # Scaleway
    "fd20:ce::254/128",  # Google Cloud
)
#: Interface identifiers of ISATAP, whose addresses end in an IPv4 address.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def is_public(written: str) -> bool:
    """Returns whether an address is public; an IPv6 address that embeds an IPv4 address is not."""
    address = _address(written)
    if address is None or _is_in(address, _SPECIAL):
        return False
    if isinstance(address, ipaddress.IPv6Address):
        return address in _ALLOCATED and (int(address) >> 32) & 0xFFFF_FFFF not in _ISATAP
    return True


def is_private(written: str) -> bool:
    """Returns whether an address belongs to a private network, and is no metadata service of a platform."""
    address = _address(written)
    return address is not None and _is_in(address, _PRIVATE) and not _is_in(address, _METADATA)


def private_network(written: str) -> Network | None:
    """Returns the private network that is written as CIDR or as an address; None for any other text.

    Raises `ValueError` for a network that is not private.
    """
    try:
        network = ipaddress.ip_network(written)
    except ValueError:
        return None
    if not any(_holds(private, network) for private in _PRIVATE):
        raise ValueError(f"{written} is not a private network")
    return network


def is_within(written: str, networks: Sequence[Network]) -> bool:
    """Returns whether an address is in one of the networks."""
    address = _address(written)
    return address is not None and _is_in(address, networks)


def is_same(written: str, other: str) -> bool:
    """Returns whether two texts are the same address; False if one is none."""
    address = _address(written)
    return address is not None and address == _address(other)


def is_loopback(host: str) -> bool:
    """Returns whether a host name or address is a loopback one, which only this machine reaches."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def literal_address(host: str) -> str | None:
    """Returns the address that a host stands for without a name server; None for a name.

    Any notation counts that resolvers read as an address, such as 127.1, `localhost` and [::1].
    """
    bare = host.strip("[]").rstrip(".").lower()
    if bare == "localhost" or bare.endswith(".localhost"):
        return "127.0.0.1"
    if _address(bare.partition("%")[0]) is not None:
        return bare
    try:
        # Reads what the resolver of the C library reads: fewer than four parts, octal, hexadecimal.
        return socket.inet_ntoa(socket.inet_aton(bare))
    except (OSError, ValueError):
        return None


def _address(written: str) -> Address | None:
    """Returns the address; None for an invalid one, and for one with a zone, which is link-local."""
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return None
    return None if getattr(address, "scope_id", None) else address


def _is_in(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks if network.version == address.version)


def _holds(outer: Network, inner: Network) -> bool:
    return outer.version == inner.version and inner.network_address in outer and inner.broadcast_address in outer
