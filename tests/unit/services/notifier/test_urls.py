"""What is a receiver's URL, as far as the text alone says."""

import pytest

from services.notifier.domain.urls import NO_ORIGIN, fault, origin

FORBIDDEN = {"127.0.0.1", "169.254.169.254", "::1"}


def is_allowed(host: str, port: int) -> bool:
    return host not in FORBIDDEN and port != 22


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "http://example.com:8080/hooks/calotype?key=value&other=%20#part",
        "https://EXAMPLE.com./",
        "https://[2001:db8::1]:8443/x",
        "https://192.0.2.1/",
        "https://a_b-c.example/",
        "https://example.com/" + "x" * (2_048 - 20),
    ],
)
def test_web_urls_are_accepted(url: str) -> None:
    assert fault(url, is_allowed) is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "https://user@example.com/",
        "https://user:password@example.com/",
        "https://@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://exam ple.com/",
        "https://example.com/a b",
        "https://example.com/\n",
        "https://example.com/\x00",
        "https://example.com/\x7f",
        "https://ex%61mple.com/",
        "https://[fe80::1%25eth0]/",
        "https://[::1",
        "https://example.com:0/",
        "https://example.com:65536/",
        "https://example.com:port/",
        "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example/",
        "https://example.com/\ud800",
        "https://" + "a" * 254 + "/",
        "https://..example.com/",
        "https://example.com/" + "x" * (2_049 - 20),
    ],
)
def test_other_texts_are_refused(url: str) -> None:
    assert fault(url, is_allowed)
    assert url not in str(fault(url, is_allowed)) or not url


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1/", "http://169.254.169.254/latest", "http://[::1]/", "http://example.com:22/"]
)
def test_forbidden_addresses_and_ports_are_refused(url: str) -> None:
    assert fault(url, is_allowed) == "This address or port is not allowed."


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com/a?b", "https://example.com:443"),
        ("HTTPS://Example.COM:443", "https://example.com:443"),
        ("http://example.com/", "http://example.com:80"),
        ("http://example.com:8080/x", "http://example.com:8080"),
        ("https://[2001:DB8::1]/x", "https://[2001:db8::1]:443"),
        ("no url", NO_ORIGIN),
        ("https://example.com/\x00", NO_ORIGIN),
        ("https://[::1", NO_ORIGIN),
    ],
)
def test_the_origin_is_scheme_host_and_port(url: str, expected: str) -> None:
    assert origin(url) == expected
