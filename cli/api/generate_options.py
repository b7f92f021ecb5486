"""Options of `calotype generate`: one for each field of a job in the REST API."""

import base64
import json
import mimetypes
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import click

#: Most seconds of a time limit.
MAX_SECONDS = 2**31 - 1
FORMATS = ("png", "jpeg", "webp")


class InputImageType(click.ParamType[dict[str, str]]):
    """An input image: the path of a file, or an http or https URL; as the API's `InputImage`."""

    name = "FILE|URL"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, str]:
        """Reads a file; a URL is left to the service."""
        if str(value).startswith(("http://", "https://")):
            return {"url": str(value)}
        path = Path(value)
        try:
            image = {"data": base64.b64encode(path.read_bytes()).decode()}
        except OSError as error:
            self.fail(f"{path} cannot be read: {error.strerror}.", param, ctx)
        content_type = mimetypes.guess_type(path.name)[0] or ""
        # The service finds out the type of a file whose name does not say it.
        return image | ({"content_type": content_type} if content_type.startswith("image/") else {})


class Pair(click.ParamType[tuple[str, str]]):
    """`NAME=VALUE`."""

    name = "NAME=VALUE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Parses name and value."""
        if isinstance(value, tuple):
            return value
        name, equals, text = str(value).partition("=")
        if not name or not equals:
            self.fail(f"{value!r} is not NAME=VALUE.", param, ctx)
        return name, text


def _seconds(name: str, text: str) -> Callable[[Any], Any]:
    return click.option(name, type=click.IntRange(1, MAX_SECONDS), metavar="SECONDS", help=text)


_image = InputImageType()
#: In the order of the help. The name of each is that of its field, with `_` in place of `-`.
_OPTIONS = (
    click.option("--provider", help="Provider of the catalogue (calotype providers)."),
    click.option("--model", help="Model of that provider."),
    click.option("--fallback", multiple=True, help="Provider to try if that one fails unpaid; may be repeated."),
    click.option("--fallback-on-refusal", is_flag=True, help="Try a fallback also if the content policy refuses."),
    click.option("-n", "n", type=click.IntRange(1, 10), default=1, show_default=True, help="Number of images."),
    click.option("--size", metavar="WIDTHxHEIGHT", help="In pixels, such as 1024x768."),
    click.option("--aspect-ratio", metavar="A:B", help="Such as 16:9, in place of a size."),
    click.option("--seed", type=click.IntRange(0, 2**63 - 1), help="The same seed gives the same image."),
    click.option("--negative-prompt", help="What not to draw."),
    click.option("--quality", help="By the provider's own name for it."),
    click.option("--output-format", type=click.Choice(FORMATS), help="Default: that of -o, or the provider's."),
    click.option("--output-compression", type=click.IntRange(0, 100), help="Of jpeg and webp; 100 is best."),
    click.option("--background", type=click.Choice(["transparent", "opaque", "auto"])),
    click.option("--moderation", type=click.Choice(["auto", "low"]), help="How strictly the provider moderates."),
    click.option("--image", "input_images", multiple=True, type=_image, help="To start from; may be repeated."),
    click.option("--mask", type=_image, help="Its transparent pixels are edited, or the white ones."),
    click.option("--input-fidelity", type=click.Choice(["low", "high"]), help="How closely images are preserved."),
    click.option(
        "--provider-option",
        "provider_options",
        multiple=True,
        type=Pair(),
        help="Option of the provider; VALUE is JSON, or text. A dot names a nested one. May be repeated.",
    ),
    click.option("--priority", type=click.Choice(["low", "normal", "high"]), help="Among your own jobs."),
    _seconds("--start-within-seconds", "Fail if no worker has begun by then."),
    _seconds("--finish-within-seconds", "Fail if it is not done by then."),
    click.option(
        "--on-ambiguous",
        type=click.Choice(["fail", "retry"]),
        help="If the outcome of a paid call is unknown: fail, or call again and maybe pay twice.",
    ),
    click.option("--callback-url", metavar="URL", help="Where the end of the job is posted to."),
    click.option("--end-user", help="Your own user, to filter by."),
    click.option("--metadata", multiple=True, type=Pair(), help="Your own label; may be repeated."),
)
#: Fields of a job that an option sets.
FIELDS = (
    *("provider", "model", "fallback", "fallback_on_refusal", "n", "size", "aspect_ratio", "seed", "negative_prompt"),
    *("quality", "output_format", "output_compression", "background", "moderation", "input_images", "mask"),
    *("input_fidelity", "provider_options", "priority", "start_within_seconds", "finish_within_seconds"),
    *("on_ambiguous", "callback_url", "end_user", "metadata"),
)


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds an option for each field of a job but the prompt, and passes those that were given as `fields`."""

    @wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        values = {name: kwargs.pop(name) for name in FIELDS}
        values["metadata"] = dict(values["metadata"])
        values["provider_options"] = _nested(values["provider_options"])
        # A flag that is not given, and a list without members, say nothing.
        fields = {name: value for name, value in values.items() if value is not None and value is not False}
        fields = {name: value for name, value in fields.items() if value not in ((), {})}
        return command(*args, fields=fields, **kwargs)

    decorated: Callable[..., Any] = wrapped
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated


def _nested(pairs: tuple[tuple[str, str], ...]) -> Mapping[str, Any]:
    """Returns options as the API has them: `a.b=1` is the value 1 of `b` in the object `a`."""
    options: dict[str, Any] = {}
    for path, text in pairs:
        *above, name = path.split(".")
        inside = options
        for part in above:
            inside = inside.setdefault(part, {})
            if not isinstance(inside, dict):
                raise click.BadParameter(f"{part} of {path!r} is not an object.", param_hint="--provider-option")
        inside[name] = _value(text)
    return options


def _value(text: str) -> Any:
    def is_text(constant: str) -> Any:
        raise ValueError(constant)

    try:
        # NaN and Infinity are no JSON, though the library reads them.
        return json.loads(text, parse_constant=is_text)
    except ValueError:
        return text
