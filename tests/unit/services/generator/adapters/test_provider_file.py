"""A mistake in the provider file is one line with the file, the line and the field."""

import re
from pathlib import Path

import pytest

from common.config import ConfigError
from services.generator.adapters.providers import provider_file
from services.generator.adapters.providers.entry_fields import Defaults
from services.generator.adapters.providers.kinds import ProviderFile
from services.generator.domain.jobs import Request

GOOD = """
default: flux
providers:
  - name: procedural
    kind: procedural
  - name: flux
    kind: replicate
    api_key_env: TOKEN
    default_model: a/b
    timeout_seconds: 90
    models: [{name: a/b, price_micros_per_image: 3000}]
    aliases: {dall-e-3: a/b}
"""
BAD = {
    "- a\n- b": "1: the file must be a mapping with the key providers",
    "": "1: the file is empty; it needs the key providers",
    "# later": "1: the file is empty",
    "provider: []": "1: provider: There is no key provider; did you mean providers?",
    "providers: []": "1: providers",
    "providers:\n  - kind: procedural": "2: providers.0.name",
    "providers:\n  - name: x\n    kind: oracle": "3: providers.0.kind",
    "providers:\n  - name: X y\n    kind: procedural": "2: providers.0.name",
    "providers:\n  - {name: x, kind: procedural}\n  - {name: x, kind: procedural}": (
        "3: providers.1.name: another provider has the name x"
    ),
    "default: y\nproviders:\n  - {name: x, kind: procedural}": "1: default: default names 'y'",
    "providers:\n  - name: x\n    kind: procedural\n    colour: red": (
        "4: providers.0.colour: There is no key colour; the keys here are aliases, "
    ),
    "providers:\n  - name: x\n    kind: procedural\n    api_key_evn: K": (
        "4: providers.0.api_key_evn: There is no key api_key_evn; did you mean api_key_env?"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    api_key: sk-1": (
        "4: providers.0.api_key: There is no key api_key: write no secret into this file; use api_key_env"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    models: [{nme: m}]": (
        "models.0.nme: There is no key nme; did you mean name?"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    models: m": "models: must be a list, such as [a, b]",
    "providers:\n  - name: x\n    kind: procedural\n    allow_private_addresses: maybe": (
        "4: providers.0.allow_private_addresses: must be true or false, or a list"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    allow_private_addresses: [8.8.8.8]": (
        "4: providers.0.allow_private_addresses.0: 8.8.8.8 is not a private network"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    allowed_options: {steps: {type: int}}": (
        "allowed_options.steps.type: must be 'integer', 'number', 'boolean', 'string' or 'any'"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    max_concurrency: 1.5": (
        "4: providers.0.max_concurrency: must be a whole number"
    ),
    "providers:\n  - name: x\n    kind: fal\n    models: [{name: m, settings: {max_imags_per_call: 2}}]": (
        "models.0.settings.max_imags_per_call: There is no key max_imags_per_call; did you mean max_images_per_call?"
    ),
    "providers:\n  - name: x\n    kind: fal\n    models: [{name: m, settings: {max_images_per_call: 99}}]": (
        "models.0.settings.max_images_per_call: must be at most 10"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    timeout_seconds: soon": (
        "4: providers.0.timeout_seconds: must be a number"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    timeout_seconds: 601": (
        "4: providers.0.timeout_seconds: must be at most 600, the value of CALOTYPE_MAX_GENERATING_SECONDS"
    ),
    "providers:\n  - name: x\n    kind: replicate\n    base_url: ftp://x": "4: providers.0.base_url",
    "providers:\n  - name: x\n    kind: procedural\n    models: [{name: a, price_micros_per_image: -1}]": (
        "providers.0.models.0.price_micros_per_image"
    ),
    "providers:\n  - name: x": "2: providers.0.kind: must be one of procedural, replicate",
    "providers:\n  - name: x\n    kind: replicate": "2: providers.0: name a model in models, or a default_model",
    "providers:\n  - name: x\n    kind: procedural\n    settings: {a: 1}": "4: providers.0.settings.a",
    "providers:\n  - name: x\n    kind: replicate\n    default_model: a/b\n    settings:\n      inputs: {colour: c}": (
        "6: providers.0.settings.inputs.colour: There is no key colour; the keys here are 'prompt'"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    defaults: {size: large}": (
        "4: providers.0.defaults.size: must be WIDTHxHEIGHT in pixels"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    defaults: {size: 64x64, aspect_ratio: '1:1'}": (
        "4: providers.0.defaults: size and aspect_ratio exclude each other"
    ),
    "providers:\n  - name: x\n    kind: replicate\n    default_model: a/b\n    settings: {max_input_images: 1}": (
        "5: providers.0.settings: max_input_images is 1, but inputs names no input for them: write inputs.image"
    ),
    "providers:\n  - name: x\n    kind: bfl\n    models: [{name: flux-dev}]\n    settings: {inputs: {image: image}}": (
        "2: providers.0: flux-dev takes its images in another field: leave settings.inputs out, or write inputs: "
        "{image: image_prompt}"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    aliases: {a: y}": (
        "4: providers.0.aliases.a: names 'y'; the models are procedural"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    aliases: {x: procedural}": (
        "4: providers.0.aliases.x: x is already the name of a provider"
    ),
    "providers:\n  - {name: x, kind: procedural, aliases: {a: procedural}}\n"
    "  - {name: y, kind: procedural, aliases: {a: procedural}}": (
        "3: providers.1.aliases.a: a is already the name of a model of x"
    ),
    "providers:\n  - name: x\n    kind: procedural\n    aliases: {a/b: procedural}": "4: providers.0.aliases.a/b",
    "providers: [": "1:13: is not YAML: ",
    "providers: []\nproviders: [{name: x, kind: procedural}]": (
        "2:1: the key 'providers' occurs twice in one mapping; the first is in line 1"
    ),
    "providers:\n  - {name: x, kind: procedural\n": "is not YAML: expected ',' or '}', but got the end of the file",
    "providers:\n\t- name: x": "2:1: is not YAML: a line must be indented with spaces, not with tabs",
    "providers: 2026-13-45": "is not YAML that can be read: month must be in 1..12",
    "providers: \x07": "is not YAML: character number 12 is a control character",
}
PYDANTIC = ("Input should", "Extra inputs", "Value error", "valid dictionary", "valid tuple")


def read(path: Path, text: str) -> ProviderFile:
    """The file's content, as it would be read."""
    path.write_text(text, encoding="utf-8")
    return provider_file.read(path, max_timeout_seconds=600)


def test_a_good_file_is_what_it_says(tmp_path: Path) -> None:
    found = read(tmp_path / "p.yaml", GOOD)
    procedural, flux = found.providers

    assert (found.default_name, flux.model, flux.timeout_seconds, flux.price_of("a/b")) == ("flux", "a/b", 90, 3000)
    assert flux.aliases == {"dall-e-3": "a/b"}
    assert (procedural.model, procedural.timeout_seconds, procedural.price_of("x")) == ("procedural", 300, None)


def without_column(message: str) -> str:
    """The message with the line of the mistake, and without the column, as the table above has it."""
    return re.sub(r"(\.yaml:\d+):\d+: ", r"\1: ", message)


@pytest.mark.parametrize(("text", "told"), BAD.items(), ids=range(len(BAD)))
def test_a_mistake_is_named_in_one_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "p.yaml"
    with pytest.raises(ConfigError) as error:
        read(path, text)
    message = str(error.value)

    assert str(path) in message
    assert told in message or told in without_column(message)
    assert "\n" not in message
    assert not [words for words in PYDANTIC if words in message]
    assert "sk-1" not in message


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file or directory\)"):
        provider_file.read(tmp_path / "none.yaml", max_timeout_seconds=600)


def test_a_file_in_another_encoding_says_so(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_bytes(b"a: \xe9")
    with pytest.raises(ConfigError, match=r"is not UTF-8 \(byte 4\); save it with the encoding UTF-8"):
        provider_file.read(tmp_path / "p.yaml", max_timeout_seconds=600)


def test_without_a_file_there_is_a_provider_that_needs_no_key() -> None:
    [only] = provider_file.read(None, max_timeout_seconds=600).providers

    assert (only.name, only.kind) == ("procedural", "procedural")


def test_a_limit_that_nobody_named_gives_way_to_the_stages_own(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("providers: [{name: x, kind: procedural}]", encoding="utf-8")
    [only] = provider_file.read(path, max_timeout_seconds=20).providers

    assert only.timeout_seconds == 20


def test_a_key_comes_from_where_the_file_says_and_is_in_no_message(tmp_path: Path) -> None:
    _, flux = read(tmp_path / "p.yaml", GOOD).providers
    secret = tmp_path / "key"
    secret.write_text("r8_secret\n", encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        flux.api_key({"OTHER": "r8_secret"})

    assert "TOKEN" in str(error.value)
    assert "r8_secret" not in str(error.value)
    assert flux.api_key({"TOKEN": "r8_secret"}) == "r8_secret"
    assert flux.model_copy(update={"api_key_file": secret}).api_key({}) == "r8_secret"


@pytest.mark.parametrize("content", ["", " \n", "two\nlines", "sécret"])
def test_a_key_that_no_header_can_carry_is_refused_without_being_told(tmp_path: Path, content: str) -> None:
    _, flux = read(tmp_path / "p.yaml", GOOD).providers
    (tmp_path / "key").write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        flux.model_copy(update={"api_key_file": tmp_path / "key"}).api_key({})

    assert str(tmp_path / "key") in str(error.value)
    assert not content.strip() or content.strip() not in str(error.value)


def test_defaults_fill_what_a_request_leaves_out_and_nothing_else() -> None:
    defaults = Defaults(size="512x512", output_format="webp", provider_options={"steps": 4, "style": "dry"})
    bare = defaults.applied_to(Request(prompt="x"))
    full = defaults.applied_to(Request(prompt="x", aspect_ratio="1:1", output_format="png", options={"steps": 9}))

    assert (bare.size, bare.aspect_ratio, bare.output_format) == ("512x512", None, "webp")
    assert (full.size, full.aspect_ratio, full.output_format) == (None, "1:1", "png")
    assert (bare.options, full.options) == ({"steps": 4, "style": "dry"}, {"steps": 9, "style": "dry"})


MISTAKES = """
defalt: flux
providers:
  - nam: procedural
    kind: procedural
    timeout_seconds: soon
    colour: red
  - name: flux
    kind: replicate
    allow_private_addresses: maybe
    models: [{name: a/b, price_micros_per_image: -1}, {price_micros_per_image: 1.5}]
"""


def test_every_mistake_of_a_file_is_named_once(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    with pytest.raises(provider_file.ProviderFileError) as error:
        read(path, MISTAKES)

    places = [line.removeprefix(f"{path}:").split(": ")[:2] for line in error.value.mistakes]
    assert str(error.value) == error.value.mistakes[0]
    assert [(int(line.partition(":")[0]), place) for line, place in places] == [
        (2, "defalt"),
        (4, "providers.0.nam"),
        (6, "providers.0.timeout_seconds"),
        (7, "providers.0.colour"),
        (10, "providers.1.allow_private_addresses"),
        (11, "providers.1.models.0.price_micros_per_image"),
        (11, "providers.1.models.1.name"),
        (11, "providers.1.models.1.price_micros_per_image"),
    ]


def test_every_timeout_that_is_too_long_is_named(tmp_path: Path) -> None:
    text = "providers:\n" + "".join(
        f"  - {{name: {name}, kind: procedural, timeout_seconds: 601}}\n" for name in ("a", "b")
    )
    with pytest.raises(provider_file.ProviderFileError) as error:
        read(tmp_path / "p.yaml", text)

    assert len(error.value.mistakes) == 2


@pytest.mark.parametrize(
    "pasted",
    [
        "sk-proj-abc123",
        "sk-ant-api03-XYZ",
        "r8_abcdef0123456789",
        "AIzaSyA-1234567890",
        "AKIAIOSFODNN7EXAMPLE",
        "9F8E7D6C5B4A39281706F5E4D3C2B1A0",
        "key with blanks",
    ],
)
def test_a_key_that_was_pasted_in_place_of_its_variable_is_not_shown(tmp_path: Path, pasted: str) -> None:
    _, flux = read(tmp_path / "p.yaml", GOOD.replace("TOKEN", f"'{pasted}'")).providers
    with pytest.raises(ConfigError) as error:
        flux.api_key({})

    assert "provider flux: the value of api_key_env does not look like a variable name" in str(error.value)
    assert pasted[:6] not in str(error.value)


@pytest.mark.parametrize("name", ["TOKEN", "OPENAI_API_KEY", "HF_TOKEN_2", "_KEY"])
def test_a_variable_that_is_not_set_is_named(tmp_path: Path, name: str) -> None:
    _, flux = read(tmp_path / "p.yaml", GOOD.replace("TOKEN", name)).providers
    with pytest.raises(ConfigError, match=f"provider flux: {name} is not set"):
        flux.api_key({})


def test_a_variable_of_any_name_is_read(tmp_path: Path) -> None:
    _, flux = read(tmp_path / "p.yaml", GOOD.replace("TOKEN", "my-token")).providers

    assert flux.api_key({"my-token": "r8_secret"}) == "r8_secret"
