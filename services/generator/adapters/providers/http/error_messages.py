"""Classifies providers' error messages that have no code: a temporary failure, or a refusal by the content policy.

Only whole words count: `safety_tolerance`, `disable_nsfw_checker` and `case-sensitive` are names of settings. Temporary
failures are tried first, because their messages name the component that failed ("out of memory in safety_checker").
"""

import re

#: Characters of a message that are searched.
MAX_SEARCHED_CHARACTERS = 4000


def _whole_words(*patterns: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{'|'.join(patterns)})(?![\w-])", re.IGNORECASE)


_PASSING = _whole_words(
    r"out of memory",
    r"interrupted",
    r"(?:please )?(?:try|retry)(?:ing)?(?: again)? (?:later|in a|soon|your)[^.]*",
    r"please (?:try again|retry)(?! with)",
    r"temporar(?:y|ily)(?: \w+){0,3}",
    r"overloaded|over capacity|at capacity|high demand|high load",
    r"queue (?:is full|has reached its limit)",
    r"too many (?:concurrent )?requests",
    r"internal (?:server )?error",
    r"(?:service|server|model) (?:is )?(?:unavailable|busy)",
    r"connection (?:reset|refused|aborted)",
    r"timed out|time-?out",
)
_REFUSED = _whole_words(
    r"nsfw",
    r"flagged",
    r"sensitive",
    r"unsafe",
    r"moderat(?:ed|ion)(?:_blocked)?",
    r"content[ _]polic(?:y|ies)(?:_violation)?",
    r"content[ _]?filter(?:ed|ing)?",
    r"content management policy",
    r"safety (?:system|filters?|check(?:er)?|polic(?:y|ies)|guidelines|reasons)",
    r"ContentPolicyViolationError|ResponsibleAIPolicyViolation",
    r"violat(?:es|ed|ing|ion)[^.]{0,60}(?:polic(?:y|ies)|guidelines|terms)",
)


def is_passing(sentence: str) -> bool:
    """Returns whether the message says that another try may succeed."""
    return _PASSING.search(sentence[:MAX_SEARCHED_CHARACTERS]) is not None


def is_refusal(sentence: str) -> bool:
    """Returns whether the message says that the content policy forbids the request; False for temporary failures."""
    return not is_passing(sentence) and _REFUSED.search(sentence[:MAX_SEARCHED_CHARACTERS]) is not None
