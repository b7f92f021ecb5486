"""Words for people in the language that their client asks for: titles and messages, found by the keys of states.

A language is one more entry of `_WORDS`, with a title and a message for every key.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.types import Scope

from gateway.schemas.catalogue import UiStateView
from gateway.views.ui_states import STATES

#: The language that the table of states is written in.
SOURCE = "en"
#: Nobody's language, named as CLDR names it: English with accents, so that a word that cannot be translated shows.
TEST = "en-XA"
_ACCENTS = str.maketrans("aceinouyACEINOUY", "àçéîñöüýÀÇÉÎÑÖÜÝ")
_SCOPE = "calotype.locale"
_MOST_RANGES = 20
_RANGE = re.compile(r"\s*([A-Za-z]{1,8}(?:-[A-Za-z0-9]{1,8}){0,8}|\*)\s*(?:;\s*q=([01](?:\.\d{0,3})?)\s*)?")


class Words(NamedTuple):
    """What is said of a state."""

    title: str
    message: str


def _accented(text: str) -> str:
    return f"[{text.translate(_ACCENTS)}]"


_WORDS: Mapping[str, Mapping[str, Words]] = MappingProxyType(
    {TEST: {state.key: Words(_accented(state.title), _accented(state.message)) for state in STATES}}
)
_STATES = {SOURCE: STATES} | {
    locale: tuple(state.model_copy(update=words[state.key]._asdict()) for state in STATES)
    for locale, words in _WORDS.items()
}
_BY_TAG = {locale.lower(): locale for locale in _STATES}


def states(locale: str) -> tuple[UiStateView, ...]:
    """The table of states in a language of ours."""
    return _STATES[locale]


def locale_of(request: HTTPConnection) -> str:
    """The language of ours that the client likes best, remembered for the headers of the answer."""
    locale: str = request.scope.setdefault(_SCOPE, choose(request.headers.get("accept-language", "")))
    return locale


def choose(accepted: str) -> str:
    """The language for an Accept-Language header, by the lookup of RFC 4647; what cannot be read is left out."""
    weighed = []
    for one in accepted.split(",", _MOST_RANGES)[:_MOST_RANGES]:
        if (found := _RANGE.fullmatch(one)) and (weight := float(found[2] or 1)) > 0:
            weighed.append((weight, found[1].lower()))
    for _, tag in sorted(weighed, key=lambda pair: -pair[0]):
        while tag:
            if tag in _BY_TAG:
                return _BY_TAG[tag]
            tag = tag.rpartition("-")[0]
    return SOURCE


def mark(headers: MutableHeaders, *, scope: Scope) -> None:
    """Say which language the answer's words are in, if it has any."""
    if _SCOPE in scope:
        headers["Content-Language"] = scope[_SCOPE]
        headers.add_vary_header("Accept-Language")
