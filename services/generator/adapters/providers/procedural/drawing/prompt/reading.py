"""Reads a prompt's words: subjects, hour, season, moods, colours, style and framing."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from services.generator.adapters.providers.procedural.drawing.paint.colour import Color, rgb
from services.generator.adapters.providers.procedural.drawing.prompt.vocabulary import (
    ARTICLES,
    DENIALS,
    EMOJI,
    PHRASES,
    SPECIES,
    meanings,
)

_WORD = re.compile(r"[^\W_]+")
_MAX_COLOURS = 4
#: How many words after a colour may still be the thing that it colours ("red and white house").
_TINT_REACH = 3
_EVERYWHERE = frozenset({"sky", "skies"})


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A prompt as the renderer understands it. None and empty mean that the prompt does not mention it."""

    things: tuple[str, ...]
    """Subjects, in the prompt's order."""
    words: frozenset[str]
    """All words of the prompt that are not refused."""
    tints: dict[str, Color]
    """Colours of single subjects."""
    hour: str | None
    """Time of day, such as `dusk`."""
    season: str | None
    """Season, such as `winter`."""
    moods: tuple[str, ...]
    """Moods, such as `storm`."""
    colours: tuple[Color, ...]
    """Colours of the whole image."""
    style: str | None
    """Style, such as `watercolor`."""
    framing: str | None
    """Framing, such as `macro`."""
    refused: frozenset[str]
    """Subjects that must not appear."""
    key: str
    """Normalized prompt, from which the random numbers follow."""

    def shows(self, *things: str) -> bool:
        """Returns whether the prompt names any of the subjects."""
        return any(thing in self.things for thing in things)

    def allows(self, thing: str) -> bool:
        """Returns whether a subject may be added."""
        return thing not in self.refused


def read(prompt: str, negative_prompt: str | None) -> Reading:
    """Reads a prompt; what the negative prompt names, or `no` and `without` precede, is left out."""
    wanted, denied = _split(list(_words(prompt)))
    denied += list(_words(negative_prompt or ""))
    refused = frozenset(concept for word in denied for _, concept in meaning(word))
    found: dict[str, list[str]] = {}
    for word in wanted:
        for category, concept in meaning(word):
            if concept not in refused and concept not in found.setdefault(category, []):
                found[category].append(concept)
    return Reading(
        things=tuple(found.get("thing", ())),
        words=frozenset(wanted),
        tints=_tints(wanted, refused),
        hour=_first(found, "hour"),
        season=_first(found, "season"),
        moods=tuple(found.get("mood", ())),
        colours=tuple(rgb(code) for code in found.get("colour", ())[:_MAX_COLOURS]),
        style=_first(found, "style"),
        framing=_first(found, "framing"),
        refused=refused,
        key=" ".join(wanted),
    )


def meaning(word: str) -> tuple[tuple[str, str], ...]:
    """The (category, concept) pairs of a word, also of its plural."""
    known = meanings()
    for form in (word, word.removesuffix("s"), word.removesuffix("es"), re.sub("ies$", "y", word)):
        if form in known:
            return known[form]
    return ()


def _words(text: str) -> Iterator[str]:
    for symbols, words in EMOJI.items():
        for symbol in symbols:
            text = text.replace(symbol, f" {words} ")
    text = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    for phrase, word in PHRASES.items():
        text = text.replace(phrase, word)
    return (match.group() for match in _WORD.finditer(text))


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    wanted: list[str] = []
    denied: list[str] = []
    denying = False
    for word in words:
        (denied if denying else wanted).append(word)
        # "without a sun": the article is denied as well, and the word behind it.
        denying = word in DENIALS or (denying and word in ARTICLES)
    return wanted, denied


def _tints(words: list[str], refused: frozenset[str]) -> dict[str, Color]:
    """Colours said right before a subject, and the colours that species have by themselves."""
    tints: dict[str, Color] = {}
    spoken: Color | None = None
    since = 0
    for word in words:
        found = meaning(word)
        colour = next((c for kind, c in found if kind == "colour" and c not in refused), None)
        # A coloured sky is not a subject: it colours the whole image.
        named = found if word not in _EVERYWHERE else ()
        things = [concept for kind, concept in named if kind == "thing" and concept not in refused]
        for thing in things:
            if spoken is not None and since < _TINT_REACH:
                tints.setdefault(thing, spoken)
            elif (code := SPECIES.get(word, SPECIES.get(word.removesuffix("s")))) is not None:
                tints.setdefault(thing, rgb(code))
        since += 1
        if things:
            spoken = None
        if colour is not None and not things:
            spoken, since = rgb(colour), 0
    return tints


def _first(found: dict[str, list[str]], category: str) -> str | None:
    return next(iter(found.get(category, ())), None)
