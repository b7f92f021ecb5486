"""Input images of one claim: read once, before its first call."""

from calotype.size_limits import MAX_INPUT_BYTES_TOGETHER

from common.errors import ServiceError
from common.memory import timeout
from services.generator.application.claim import Claim
from services.generator.domain import failures
from services.generator.domain.jobs import InputImage, MaskForm
from services.generator.domain.provider_results import METADATA_REMOVED
from services.generator.ports import ImageProvider, ImageReader, JobService

#: Time limit in seconds for reading all input images, or for converting the mask.
SECONDS = 120.0


class Inputs:
    """The input images of a job, fetched from their URLs or read from job-service."""

    def __init__(self, claim: Claim, *, job_service: JobService, reader: ImageReader) -> None:
        self._claim = claim
        self._job_service = job_service
        self._reader = reader
        self._data: tuple[bytes, ...] | None = None
        self._masks: dict[MaskForm, bytes] = {}

    async def read(self) -> tuple[bytes, ...]:
        """Returns the encoded images in the order of the request, the mask last. Raises `StageError` PROCESSING."""
        if self._data is None:
            try:
                async with timeout(self._claim.seconds_left(SECONDS)):
                    self._data = await self._read()
            except TimeoutError as error:
                raise failures.input_unavailable() from error
        return self._data

    async def for_provider(self, provider: ImageProvider, model: str) -> tuple[bytes, ...]:
        """Like `read`, with the mask in the form that the model reads. Raises `StageError` of stage PROCESSING."""
        data = await self.read()
        if not any(image.is_mask for image in self._claim.job.request.inputs):
            return data
        form = provider.mask_form(model)
        if form not in self._masks:
            try:
                async with timeout(self._claim.seconds_left(SECONDS)):
                    self._masks[form] = await self._reader.mask(data[-1], form)
            except TimeoutError as error:
                raise failures.input_unavailable() from error
        return (*data[:-1], self._masks[form])

    async def _read(self) -> tuple[bytes, ...]:
        data: list[bytes] = []
        for image in self._claim.job.request.inputs:
            data.append(await self._read_input(image))
            if sum(map(len, data)) > MAX_INPUT_BYTES_TOGETHER:
                raise failures.inputs_too_large(MAX_INPUT_BYTES_TOGETHER)
        return tuple(data)

    async def _read_input(self, image: InputImage) -> bytes:
        data = await (self._uploaded(image) if image.url is None else self._reader.read_input(image.url))
        prepared = await self._reader.prepare_input(data)
        if prepared.lost_metadata:
            # One warning for all images.
            self._claim.warnings = (METADATA_REMOVED,)
        return prepared.data

    async def _uploaded(self, image: InputImage) -> bytes:
        try:
            return b"".join([chunk async for chunk in self._job_service.read_input(self._claim.job, image.index)])
        except ServiceError as error:
            raise failures.input_unavailable() from error
