"""Answers that an adapter could not read: the images that they hold all the same, or all of them, as they came."""

import logging
from dataclasses import replace

from common.logs import event
from services.generator.application.raw_results import RawResults
from services.generator.domain import foreign_text
from services.generator.domain.jobs import Call
from services.generator.domain.provider_results import Acceptance, Generated, ProviderError
from services.generator.ports import ImageProvider, ImageReader

_LOG = logging.getLogger(__name__)
#: What such an answer is called in staging.
PART = "answer"


class UnreadResponses:
    """Looks at the answers of one job's calls."""

    def __init__(self, *, reader: ImageReader, raw: RawResults) -> None:
        self._reader = reader
        self._raw = raw
        self._kept: set[str] = set()

    async def read(self, provider: ImageProvider, call: Call, error: ProviderError) -> Generated | None:
        """Images of an answer that came to an error; None where there are none that could be delivered.

        The answer is let go of. What may have been paid for is staged first, and its name added to the evidence.
        """
        body, error.vendor = error.vendor.body, replace(error.vendor, body=b"")
        if not body or error.acceptance is Acceptance.NOT_ACCEPTED:
            return None
        images = await self._reader.found_in(body, limit=len(call.image_indexes))
        if images:
            event(_LOG, logging.WARNING, "answer.of_another_form", provider=provider.name, call_id=call.id)
            return Generated(images=tuple(images), cost_micros=provider.price(call.model, len(images)))
        # An operation may be told of again and again.
        if call.id in self._kept:
            return None
        if error.reason == "UNCLASSIFIED" or self._reader.may_hold_images(body):
            self._kept.add(call.id)
            name = await self._raw.keep(provider, call, PART, foreign_text.without_secrets(body))
            if name is not None:
                error.vendor = replace(error.vendor, message=f"(kept as {name}) {error.vendor.message}")
        return None
