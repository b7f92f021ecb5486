"""Which addresses are public, private, or out of reach for everyone: one address at least of every network."""

import pytest

from common.network.addresses import is_private, is_public, is_same, literal_address

#: By what the network is for.
NEVER = {
    "this network": ("0.0.0.0", "0.1.2.3"),
    "link-local": ("169.254.0.1", "169.254.170.2", "fe80::1", "fe80::a9fe:a9fe"),
    "link-local with a zone": ("fe80::1%eth0", "2a00:1450::1%eth0"),
    "protocol assignments": ("192.0.0.8", "2001::1", "2001:1::1", "2001:20::1"),
    "documentation": ("192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"),
    "AS112 and AMT": ("192.31.196.1", "192.52.193.1", "192.175.48.1", "2620:4f:8000::1"),
    "6to4": ("192.88.99.1", "2002::1", "2002:7f00:1::", "2002:a9fe:a9fe::1"),
    "benchmarks": ("198.18.0.1", "198.19.255.255", "2001:2::1"),
    "multicast": ("224.0.0.1", "239.255.255.255", "ff02::1"),
    "class E and broadcast": ("240.0.0.1", "255.255.255.254", "255.255.255.255"),
    "Teredo": ("2001:0:7f00:1::1", "2001:0:a9fe:a9fe::1"),
    "NAT64 with an embedded address": ("64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808"),
    "local NAT64": ("64:ff9b:1::a00:1", "64:ff9b:1:ffff::1"),
    "IPv4-mapped": ("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.8.8"),
    "IPv4-translated": ("::ffff:0:10.0.0.1",),
    "IPv4-compatible": ("::10.0.0.1", "::127.0.0.1"),
    "ISATAP": ("2607:f8b0::5efe:10.0.0.1", "2607:f8b0::200:5efe:10.0.0.1"),
    "segment routing": ("5f00::1", "5f00:ffff::1"),
    "discard only": ("100::1",),
    "unspecified": ("::",),
    "site-local": ("fec0::1",),
    "not allocated": ("4000::1", "e000::1"),
    "no address": ("", "nonsense", "127.1", "0x7f.1", "1.2.3.4.5", "[::1]", "1.1.1.1 "),
    "AWS": ("169.254.169.254", "fd00:ec2::254", "fd00:ec2::23", "fd00:ec2::253"),
    "Azure": ("168.63.129.16",),
    "Alibaba Cloud": ("100.100.100.200",),
    "Oracle Cloud": ("192.0.0.192", "fd00:c1::a9fe:a9fe"),
    "Scaleway": ("169.254.42.42", "fd00:42::42"),
    "Google Cloud": ("fd20:ce::254",),
}
PRIVATE = {
    "private": ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1"),
    "loopback": ("127.0.0.1", "127.255.255.255", "::1"),
    "shared by carriers": ("100.64.0.1", "100.127.255.255"),
    "unique local": ("fc00::1", "fd00::1"),
}
PUBLIC = (
    "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.255.255", "198.17.255.255",
    "198.20.0.0", "223.255.255.255", "2001:200::1", "2001:4860:4860::8888", "2003::1", "2606:4700::1111", "3ffe::1",
)  # fmt: skip


def _cases(table: dict[str, tuple[str, ...]]) -> list[object]:
    return [pytest.param(address, id=f"{what}-{address}") for what, addresses in table.items() for address in addresses]


@pytest.mark.parametrize("address", _cases(NEVER))
def test_neither_public_nor_private(address: str) -> None:
    assert not is_public(address)
    assert not is_private(address)


@pytest.mark.parametrize("address", _cases(PRIVATE))
def test_private(address: str) -> None:
    assert is_private(address)
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_neighbours_of_special_networks_are_public(address: str) -> None:
    assert is_public(address)
    assert not is_private(address)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1.", "127.0.0.1"),
        ("127.1", "127.0.0.1"),
        ("0x7f.1", "127.0.0.1"),
        ("0X7F.0.0.1", "127.0.0.1"),
        ("0177.1", "127.0.0.1"),
        ("2130706433", "127.0.0.1"),
        ("0xa9fea9fe", "169.254.169.254"),
        ("1.1", "1.0.0.1"),
        ("::1", "::1"),
        ("[::ffff:127.0.0.1]", "::ffff:127.0.0.1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("localhost", "127.0.0.1"),
        ("LOCALHOST.", "127.0.0.1"),
        ("a.localhost", "127.0.0.1"),
        ("example.com", None),
        ("1.2.3.4.example.com", None),
        ("1.2.3.4.5", None),
        ("xn--bcher-kva.example", None),
        ("notlocalhost", None),
        ("", None),
        ("a\x00b", None),
        ("\N{FULLWIDTH DIGIT ONE}.1.1.1", None),
    ],
)
def test_a_literal_address_is_recognized_in_every_notation(host: str, address: str | None) -> None:
    assert literal_address(host) == address


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("1.1.1.1", "1.1.1.1", True),
        ("2606:4700:0::1111", "2606:4700::1111", True),
        ("1.1.1.1", "1.1.1.2", False),
        ("1.1.1.1", "::ffff:1.1.1.1", False),
        ("nonsense", "nonsense", False),
        ("fe80::1%a", "fe80::1%a", False),
    ],
)
def test_addresses_are_compared_by_value(one: str, other: str, same: bool) -> None:
    assert is_same(one, other) is same
