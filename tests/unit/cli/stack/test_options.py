"""Bad values are told in one line; good ones become what they mean."""

import click
import pytest

from cli.stack.options import Address, Replicas, url_of


@pytest.mark.parametrize(
    ("given", "read"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("0.0.0.0:0", ("0.0.0.0", 0)), ("[::1]:80", ("[::1]", 80))],
)
def test_an_address_is_host_and_port(given: str, read: tuple[str, int]) -> None:
    assert Address().convert(given, None, None) == read


@pytest.mark.parametrize(
    "given", ["", "8080", ":8080", "localhost", "localhost:", "localhost:x", "a:65536", "a:-1", "a:²"]
)
def test_what_is_no_address_is_refused(given: str) -> None:
    with pytest.raises(click.BadParameter, match="HOST:PORT"):
        Address().convert(given, None, None)


def test_replicas_are_counts_by_service() -> None:
    assert Replicas().convert("generator=2,job=3", None, None) == {"generator": 2, "job": 3}
    assert Replicas().convert("", None, None) == {}


def test_one_count_is_for_every_service() -> None:
    every = {"job": 2, "generator": 2, "uploader": 2, "notifier": 2, "gateway": 2}
    assert Replicas().convert("2", None, None) == every


@pytest.mark.parametrize(
    "given", ["postgres=2", "nobody=1", "generator", "generator=0", "generator=99", "generator=x", "0", "9", "x"]
)
def test_what_cannot_be_replicated_so_is_refused(given: str) -> None:
    with pytest.raises(click.BadParameter):
        Replicas().convert(given, None, None)


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", "http://127.0.0.1:80"), ("[::]", "http://[::1]:80"), ("localhost", "http://localhost:80")],
)
def test_what_listens_everywhere_is_reached_on_this_machine(host: str, url: str) -> None:
    assert url_of(host, 80) == url
