"""Settings: what is read, and the one line by which anything else is refused."""

import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from common.config import ConfigError, load

KNOWN = ("ADDRESS", "SLOTS", "SHARE", "COLOUR", "QUIET", "NAMES", "FOLDER", "TOKEN", "PIN", "GRACE_SECONDS")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One field of each kind; all but the address have a default."""

    address: str
    slots: int = field(default=4, metadata={"min": 1, "max": 8})
    share: float = field(default=0.5, metadata={"min": 0.25})
    colour: Literal["red", "green"] = "red"
    quiet: bool = False
    names: tuple[str, ...] = ()
    folder: Path | None = None
    token: str = field(default="none", metadata={"secret": True})
    pin: int = field(default=0, metadata={"secret": True, "min": 0, "max": 9999})


def read(**environ: str) -> Settings:
    """Settings from an environment whose names are told without their prefix."""
    told = {"ADDRESS": "here"} | environ
    return load(Settings, environ={f"CALOTYPE_{name}": value for name, value in told.items()}, known=KNOWN)


def refusal_of(**environ: str) -> str:
    """The one line by which an environment is refused."""
    with pytest.raises(ConfigError) as refused:
        read(**environ)
    line = str(refused.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_what_is_no_number_to_count_with_is_none(value: str) -> None:
    assert refusal_of(SHARE=value) == f"CALOTYPE_SHARE: {value!r} is not a number."


def test_what_is_not_given_has_its_default() -> None:
    assert read() == Settings(address="here")


def test_every_kind_of_value_is_read() -> None:
    told = read(SLOTS="8", SHARE="0.25", COLOUR="green", QUIET="yes", NAMES="a, b,,c", FOLDER="/tmp/x", TOKEN="t")

    assert told == Settings(
        address="here", slots=8, share=0.25, colour="green", quiet=True, names=("a", "b", "c"), folder=Path("/tmp/x"),
        token="t",
    )  # fmt: skip


@pytest.mark.parametrize("environ", [{}, {"CALOTYPE_ADDRESS": ""}], ids=["absent", "empty"])
def test_what_must_be_given_and_is_not_is_named(environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=r"^CALOTYPE_ADDRESS is not set\.$"):
        load(Settings, environ=environ, known=KNOWN)


def test_an_empty_variable_is_one_that_is_not_given() -> None:
    assert read(SLOTS="", TOKEN="", QUIET="") == Settings(address="here")


def test_a_name_that_nobody_knows_is_refused_with_the_one_that_was_meant() -> None:
    assert refusal_of(SLOTZ="4") == "CALOTYPE_SLOTZ is not a setting. Did you mean CALOTYPE_SLOTS?"
    assert refusal_of(WEATHER="fine") == "CALOTYPE_WEATHER is not a setting."


def test_a_setting_of_another_process_is_none_of_this_ones_business() -> None:
    assert read(GRACE_SECONDS="not even looked at") == Settings(address="here")


def test_names_without_the_prefix_are_nobodys_settings() -> None:
    environ = {"CALOTYPE_ADDRESS": "here", "ADDRESS": "there", "CALOTYPES": "x", "calotype_slots": "9"}

    assert load(Settings, environ=environ, known=KNOWN) == Settings(address="here")


@pytest.mark.parametrize(
    "name",
    [
        "JOB_SERVICE_HOST",
        "JOB_SERVICE_PORT",
        "JOB_SERVICE_PORT_GRPC",
        "JOB_PORT",
        "JOB_PORT_8080_TCP",
        "JOB_PORT_8080_TCP_PROTO",
        "JOB_PORT_8080_TCP_PORT",
        "JOB_PORT_8080_TCP_ADDR",
        "JOB_PORT_53_UDP_ADDR",
    ],
)
def test_what_kubernetes_injects_for_a_service_is_tolerated(name: str) -> None:
    assert read(**{name: "tcp://10.0.0.1:8080"}) == Settings(address="here")


@pytest.mark.parametrize("name", ["JOB_SERVICE", "JOB_PORT_8080", "JOB_PORT_8080_TCP_NAME", "SERVICE_HOST_JOB"])
def test_what_only_looks_like_it_is_not(name: str) -> None:
    assert refusal_of(**{name: "x"}).startswith(f"CALOTYPE_{name} is not a setting.")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("SLOTS", "many", "a whole number"),
        ("SLOTS", "1.5", "a whole number"),
        ("SHARE", "half", "a number"),
        ("COLOUR", "blue", "one of red, green"),
        ("COLOUR", "RED", "one of red, green"),
        ("QUIET", "perhaps", "true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_with_what_is_wanted(name: str, value: str, wanted: str) -> None:
    assert refusal_of(**{name: value}) == f"CALOTYPE_{name}: {value!r} is not {wanted}."


@pytest.mark.parametrize("value", ["1", "true", "True", "YES", "on"])
def test_a_yes_may_be_written_in_many_ways(value: str) -> None:
    assert read(QUIET=value).quiet is True


@pytest.mark.parametrize("value", ["0", "false", "No", "OFF"])
def test_so_may_a_no(value: str) -> None:
    assert read(QUIET=value).quiet is False


@pytest.mark.parametrize(
    ("name", "value", "bounds"),
    [
        ("SLOTS", "0", "1 to 8"),
        ("SLOTS", "9", "1 to 8"),
        ("SLOTS", "-1", "1 to 8"),
        ("SHARE", "0.2499", "at least 0.25"),
    ],
)
def test_a_number_out_of_bounds_is_told_with_its_bounds(name: str, value: str, bounds: str) -> None:
    assert refusal_of(**{name: value}) == f"CALOTYPE_{name}: {value!r} is out of bounds; it must be {bounds}."


@pytest.mark.parametrize(("value", "slots"), [("1", 1), ("8", 8)])
def test_the_bounds_themselves_are_within(value: str, slots: int) -> None:
    assert read(SLOTS=value).slots == slots


def test_a_long_value_is_not_repeated_in_full() -> None:
    assert len(refusal_of(SLOTS="x" * 10_000)) < 200


def test_a_secret_may_come_from_a_file_without_the_newline_of_its_editor(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("  hidden\n", encoding="utf-8")

    assert read(TOKEN_FILE=str(tmp_path / "token")).token == "hidden"


def test_of_a_value_and_a_file_the_file_counts(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from the file", encoding="utf-8")

    assert read(TOKEN="from the variable", TOKEN_FILE=str(tmp_path / "token")).token == "from the file"


def test_an_empty_file_is_a_mistake_and_not_an_empty_secret(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("\n", encoding="utf-8")

    assert refusal_of(TOKEN="from the variable", TOKEN_FILE=str(tmp_path / "token")).endswith("which is empty.")


def test_an_empty_path_is_no_file() -> None:
    assert read(TOKEN="from the variable", TOKEN_FILE="").token == "from the variable"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "noise").write_bytes(b"\xff\xfe\x00")
    unreadable: list[Any] = [tmp_path / "nothing", tmp_path, tmp_path / "noise"]

    assert [refusal_of(TOKEN_FILE=str(path)) for path in unreadable] == [
        f"CALOTYPE_TOKEN_FILE names {path}, which cannot be read." for path in unreadable
    ]


@pytest.mark.parametrize("value", ["hunter2", "123456789"], ids=["no number", "out of bounds"])
def test_a_bad_secret_is_not_repeated(tmp_path: Path, value: str) -> None:
    (tmp_path / "pin").write_text(value, encoding="utf-8")
    told = [refusal_of(PIN=value), refusal_of(PIN_FILE=str(tmp_path / "pin"))]

    assert all(line.startswith("CALOTYPE_PIN: the given value is") for line in told)
    assert not [line for line in told if value in line]


def test_a_bad_secret_is_in_no_traceback_either() -> None:
    value = "hunter" * 2
    with pytest.raises(ConfigError) as refused:
        read(PIN=value)

    assert value not in "".join(traceback.format_exception(refused.value))
