"""Titles and messages of the display states in the language that the client prefers.

To add a language, add an entry to `_TEXTS` with a title and a message for the key of every state.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from gateway.schemas.catalogue import UiStateView
from gateway.views.ui_states import STATES

if TYPE_CHECKING:
    # The notifier renders jobs, too, and serves no HTTP.
    from starlette.datastructures import MutableHeaders
    from starlette.requests import HTTPConnection
    from starlette.types import Scope

#: The language that the table of states is written in.
SOURCE = "en"
#: Pseudo-locale with the name that CLDR gives it: English with accents, to find texts that are not translated.
TEST = "en-XA"
_ACCENTS = str.maketrans("aceinouyACEINOUY", "àçéîñöüýÀÇÉÎÑÖÜÝ")
_SCOPE = "calotype.locale"
#: Languages of one Accept-Language header that are considered.
_RANGE_LIMIT = 20
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}|\*)\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?")


class Text(NamedTuple):
    """The translated text of a state."""

    title: str
    """A few words, as a heading."""
    message: str
    """One to three sentences: what happened and what to do."""


def _accented(text: str) -> str:
    return f"[{text.translate(_ACCENTS)}]"


_TEXTS: Mapping[str, Mapping[str, Text]] = MappingProxyType(
    {TEST: {state.key: Text(_accented(state.title), _accented(state.message)) for state in STATES}}
)
_STATES = {SOURCE: STATES} | {
    locale: tuple(state.model_copy(update=texts[state.key]._asdict()) for state in STATES)
    for locale, texts in _TEXTS.items()
}
_BY_TAG = {locale.lower(): locale for locale in _STATES}


def states(locale: str) -> tuple[UiStateView, ...]:
    """Returns the table of states in a supported language."""
    return _STATES[locale]


def locale_of(request: "HTTPConnection") -> str:
    """Returns the supported language that the client prefers, and stores it for the response headers."""
    locale: str = request.scope.setdefault(_SCOPE, choose(request.headers.get("accept-language", "")))
    return locale


def choose(accepted: str) -> str:
    """Returns the language for an Accept-Language header, by the lookup of RFC 4647; ignores what is not valid."""
    weighted = []
    for language_range in accepted.split(",", _RANGE_LIMIT)[:_RANGE_LIMIT]:
        if (match := _RANGE.fullmatch(language_range)) and (weight := float(match[2] or 1)) > 0:
            weighted.append((weight, match[1].lower()))
    for _, tag in sorted(weighted, key=lambda pair: -pair[0]):
        while tag:
            if tag in _BY_TAG:
                return _BY_TAG[tag]
            tag = tag.rpartition("-")[0]
    return SOURCE


def add_headers(headers: "MutableHeaders", *, scope: "Scope") -> None:
    """Adds Content-Language and Vary to a response with translated text."""
    if _SCOPE in scope:
        headers["Content-Language"] = scope[_SCOPE]
        headers.add_vary_header("Accept-Language")
