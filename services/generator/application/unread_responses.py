"""Responses that an adapter could not read: finds the images in them, or else stores them unchanged."""

import logging
from dataclasses import replace

from calotype.error_reasons import Reason

from common.logs import event
from services.generator.application.raw_results import RawResults
from services.generator.domain import untrusted_text
from services.generator.domain.jobs import Call
from services.generator.domain.provider_results import Acceptance, Generated, ProviderError
from services.generator.ports import ImageProvider, ImageReader

_LOG = logging.getLogger(__name__)
#: Name of such a response among the stored data of its call.
PART = "answer"


class UnreadResponses:
    """Unreadable responses to the calls of one job."""

    def __init__(self, *, reader: ImageReader, raw: RawResults) -> None:
        self._reader = reader
        self._raw = raw
        self._kept: set[str] = set()

    async def read(self, provider: ImageProvider, call: Call, error: ProviderError) -> Generated | None:
        """Returns the images in the response that led to an error; None without any.

        Removes the body from the error. A body that may hold paid images is stored first, and its object name is added
        to the provider's message.
        """
        body, error.vendor = error.vendor.body, replace(error.vendor, body=b"")
        if not body or error.acceptance is Acceptance.NOT_ACCEPTED:
            return None
        images = await self._reader.images_in(body, limit=len(call.image_indexes))
        if images:
            event(_LOG, logging.WARNING, "response.not_understood", provider=provider.name, call_id=call.id)
            return Generated(images=tuple(images), cost_micros=provider.price(call.model, len(images)))
        # Each poll of an operation may return the same response.
        if call.id in self._kept:
            return None
        if error.reason == Reason.UNCLASSIFIED or self._reader.may_hold_images(body):
            self._kept.add(call.id)
            name = await self._raw.keep(provider, call, PART, untrusted_text.without_secrets(body))
            if name is not None:
                error.vendor = replace(error.vendor, message=f"(kept as {name}) {error.vendor.message}")
        return None
