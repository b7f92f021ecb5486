"""What vendors' sentences mean where no code says it: a trouble that passes, or a refusal by their content policy.

Whole words only: `safety_tolerance`, `disable_nsfw_checker` and `case-sensitive` are names of settings. Troubles are
looked for first, as their words name the parts that broke ("out of memory in safety_checker").
"""

import re

#: Characters of a sentence that are looked at.
MOST_SEARCHED = 4000


def _whole(*words: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-])(?:{'|'.join(words)})(?![\w-])", re.IGNORECASE)


_PASSING = _whole(
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
_REFUSED = _whole(
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
    """Whether a vendor says that another try may go better."""
    return _PASSING.search(sentence[:MOST_SEARCHED]) is not None


def is_refusal(sentence: str) -> bool:
    """Whether a vendor says that its content policy forbids the request; a trouble that passes is none."""
    return not is_passing(sentence) and _REFUSED.search(sentence[:MOST_SEARCHED]) is not None
