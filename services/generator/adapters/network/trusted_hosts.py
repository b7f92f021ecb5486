"""Where results may lie outside the open internet: what an operator has named, and never a platform's metadata."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from services.generator.adapters.network.addresses import is_private, is_public, is_within, private_network

#: `allow_private_addresses` of an entry: any private network, none, or host names and networks.
PrivateAddresses = bool | Sequence[str]


@dataclass(kw_only=True)
class TrustedHosts:
    """What one fetch may reach, redirects included.

    `own_host` is the provider's own (`host:port`). Where any private network is allowed, that is for the address
    itself, and a redirect leads to no other host of one.
    """

    own_host: str | None = None
    private: PrivateAddresses = False
    _reached: set[str] = field(default_factory=set)

    def may_reach(self, host: str, port: int, addresses: Sequence[str]) -> bool:
        """Whether all of the addresses of the host may be asked; remembers those that may."""
        trusts = self._trusts_all_private(host, port)
        may = bool(addresses) and all(is_public(one) or self._may(one, trusts) for one in addresses)
        if may:
            self._reached.add(host)
        return may

    def _may(self, address: str, trusts: bool) -> bool:
        if not is_private(address):
            return False
        if trusts or isinstance(self.private, bool):
            return trusts
        networks = [found for one in self.private if (found := private_network(one)) is not None]
        return is_within(address, networks)

    def _trusts_all_private(self, host: str, port: int) -> bool:
        if self.own_host == f"{host}:{port}":
            return True
        if isinstance(self.private, bool):
            return self.private and self._reached <= {host}
        return host in self.private
