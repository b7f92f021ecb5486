"""Addresses that callers and providers bring: into no private network, and what they learn of one."""

import ipaddress
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from common.network.addresses import is_private, is_public
from services.generator.adapters.images.guarded_fetch import GuardedFetch
from services.generator.adapters.images.reader import GuardedImageReader
from services.generator.adapters.network.trusted_hosts import TrustedHosts
from services.generator.adapters.providers.entry_fields import PrivateName
from services.generator.domain.provider_results import StageError
from tests.support.generator.decoder import decoder

#: Metadata and own services of platforms.
PLATFORMS = ["169.254.169.254", "192.0.0.192", "168.63.129.16", "100.100.100.200", "fd00:ec2::254", "fd20:ce::254"]
#: Addresses that hold an address of IPv4, here one of a private network or of metadata.
WRAPPED = [
    "::ffff:10.0.0.1",
    "::ffff:0:10.0.0.1",
    "::10.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::a00:1",
    "2002:a00:1::1",
    "2001:0:a00:1::1",
    "2607:f8b0::5efe:10.0.0.1",
    "2607:f8b0::200:5efe:10.0.0.1",
]
SPECIAL = [
    "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.1.1", "172.16.0.1", "172.31.255.255", "192.0.0.8",
    "192.0.2.1", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.0.1", "192.175.48.1", "198.18.0.1",
    "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "100::1", "2001::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002::1",
    "2620:4f:8000::1", "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    "2a00:1450::1%eth0", "4000::1", "nonsense", "",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "168.63.129.15", "168.63.129.17",
    "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.88.98.1", "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2001:200::1", "2001:4860:4860::8888", "2606:4700::1111", "2a00:1450::5efe", "3ffe::1",
]  # fmt: skip


@pytest.mark.parametrize("address", [*PLATFORMS, *WRAPPED, *SPECIAL])
def test_what_is_not_the_open_internet_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_its_neighbours_are(address: str) -> None:
    assert is_public(address)


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_the_table_is_nowhere_wider_than_the_interpreters(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if is_public(str(address)):
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@pytest.mark.parametrize("address", [*PLATFORMS, *WRAPPED])
@pytest.mark.parametrize("private", [True, ("own.test",), ("10.0.0.0/8", "fc00::/7")])
def test_metadata_is_out_of_reach_whatever_is_trusted(address: str, private: bool | tuple[str, ...]) -> None:
    assert not TrustedHosts(own_host="own.test:80", private=private).may_reach("own.test", 80, [address])


def test_any_private_network_is_the_addresss_own_and_no_redirects() -> None:
    trusted = TrustedHosts(private=True)

    assert trusted.may_reach("first.test", 80, ["10.0.0.1"])
    assert trusted.may_reach("first.test", 8080, ["10.0.0.1"])
    assert not trusted.may_reach("second.test", 80, ["10.0.0.2"])
    assert trusted.may_reach("public.test", 80, ["1.1.1.1"])


def test_a_public_host_redirects_into_no_private_network() -> None:
    trusted = TrustedHosts(private=True)

    assert trusted.may_reach("public.test", 80, ["1.1.1.1"])
    assert not trusted.may_reach("inside.test", 80, ["10.0.0.1"])


def test_what_is_named_may_be_reached_and_nothing_beside_it() -> None:
    trusted = TrustedHosts(private=("minio.test", "10.1.0.0/16"))

    assert trusted.may_reach("minio.test", 9000, ["192.168.1.1"])
    assert trusted.may_reach("another.test", 80, ["10.1.2.3"])
    assert not trusted.may_reach("another.test", 80, ["10.2.0.1"])
    assert not trusted.may_reach("another.test", 80, ["10.1.2.3", "10.2.0.1"])
    assert not trusted.may_reach("another.test", 80, ["192.168.1.1"])


@pytest.mark.parametrize(
    "name", ["169.254.0.0/16", "0.0.0.0/0", "::/0", "8.8.8.8", "a b", "http://a.test", "10.0.0.0/7"]
)
def test_an_entry_names_hosts_and_private_networks_alone(name: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PrivateName).validate_python(name)


@given(st.ip_addresses())
def test_no_address_is_both(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    assert not (is_public(str(address)) and is_private(str(address)))


async def _input_refusal(answer: Sequence[str] | OSError) -> StageError:
    async def resolve(host: str, port: int) -> Sequence[str]:
        if isinstance(answer, OSError):
            raise answer
        return answer

    fetch = GuardedFetch(resolver=resolve)
    with pytest.raises(StageError) as refused:
        await GuardedImageReader(fetch, decoder()).read_input("http://db.internal:5432/a.png")
    await fetch.close()
    return refused.value


async def test_an_input_at_an_unknown_host_and_at_one_inside_are_answered_alike() -> None:
    unknown = [socket.gaierror(socket.EAI_NONAME, "Name or service not known"), []]
    inside = [["10.0.0.1"], ["169.254.169.254"], ["1.1.1.1", "10.0.0.1"], ["::1"]]
    told = [vars(await _input_refusal(one)) for one in (*unknown, *inside)]

    assert all(one == told[0] for one in told)
    assert told[0]["reason"] == "FORBIDDEN_ADDRESS"
