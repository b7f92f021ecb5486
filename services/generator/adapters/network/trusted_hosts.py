"""Private hosts from which results may be fetched: those that an operator has allowed, never a metadata service."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from common.network.addresses import is_private, is_public, is_within, private_network

#: `allow_private_addresses` of a provider entry: all private networks, none, or these host names and networks.
PrivateAddresses = bool | Sequence[str]


@dataclass(kw_only=True)
class TrustedHosts:
    """The hosts that one fetch may reach, redirects included."""

    #: Host of the provider's own API, `host:port`, which may be private; None: no such host.
    own_host: str | None = None
    #: Allowed private addresses. True allows every private host for the URL itself, but no redirect to another one.
    private: PrivateAddresses = False
    #: Hosts that were allowed so far.
    _reached: set[str] = field(default_factory=set)

    def may_reach(self, host: str, port: int, addresses: Sequence[str]) -> bool:
        """Returns whether all addresses of a host are allowed; remembers an allowed host."""
        trusts_private = self._trusts_all_private(host, port)
        is_allowed = bool(addresses) and all(
            is_public(address) or self._is_allowed_private(address, trusts_private) for address in addresses
        )
        if is_allowed:
            self._reached.add(host)
        return is_allowed

    def _is_allowed_private(self, address: str, trusts_private: bool) -> bool:
        if not is_private(address):
            return False
        if trusts_private or isinstance(self.private, bool):
            return trusts_private
        networks = [network for name in self.private if (network := private_network(name)) is not None]
        return is_within(address, networks)

    def _trusts_all_private(self, host: str, port: int) -> bool:
        if self.own_host == f"{host}:{port}":
            return True
        if isinstance(self.private, bool):
            return self.private and self._reached <= {host}
        return host in self.private
