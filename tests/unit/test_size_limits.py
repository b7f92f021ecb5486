"""Size limits: how they relate to each other, and the pages that name their numbers."""

from pathlib import Path

import pytest
from calotype import size_limits
from calotype.job.v1 import job_pb2, job_service_pb2
from calotype.size_limits import MEBIBYTE

from cli.stack.object_store.http import LARGEST_OBJECT
from common.grpc_server import SMALL_REQUEST_BYTES
from services.generator.adapters.images.decoding.processes import MAX_MEMORY

ROOT = Path(__file__).parents[2]
#: UTF-8 bytes, or bytes of a JSON escape, of one character.
LONGEST_CHARACTER = 12
PAGES = {
    "docs/http-api.md": [
        f"| body | {size_limits.MAX_BODY_BYTES // MEBIBYTE} MiB",
        f"at most {size_limits.MAX_INPUT_IMAGES} images, {size_limits.MAX_INPUT_BYTES // MEBIBYTE} MiB each, "
        f"{size_limits.MAX_INPUT_BYTES_TOGETHER // MEBIBYTE} MiB together",
        f"at most {size_limits.MAX_PIXELS // 1_000_000} million pixels",
    ],
    "docs/operations.md": [
        f"{SMALL_REQUEST_BYTES // MEBIBYTE} MiB (`JobService`: {size_limits.MAX_JOB_MESSAGE_BYTES // MEBIBYTE} MiB)"
    ],
    "docs/performance.md": [f"bodies of up to {size_limits.MAX_BODY_BYTES // MEBIBYTE} MiB"],
    "gateway/schemas/requests.py": [
        f"at most {size_limits.MAX_INPUT_BYTES // MEBIBYTE} MiB decoded",
        f"at most {size_limits.MAX_INPUT_IMAGES}; at most {size_limits.MAX_INPUT_BYTES_TOGETHER // MEBIBYTE} MiB "
        f"together with the mask, and {size_limits.MAX_PIXELS // 1_000_000} million pixels each",
        f"1 to {size_limits.MAX_PROMPT_CHARACTERS:,} characters",
        f"at most {size_limits.MAX_OPTIONS_BYTES // 1024} KiB as JSON",
        f"at most {size_limits.MAX_END_USER_CHARACTERS} characters",
        f"A key has 1 to {size_limits.MAX_METADATA_KEY_CHARACTERS} characters, "
        f"a value at most {size_limits.MAX_METADATA_VALUE_CHARACTERS}.",
    ],
    "proto/calotype/job/v1/job.proto": [
        f"1 to {size_limits.MAX_PROMPT_CHARACTERS:,} characters",
        f"at most {size_limits.MAX_INPUT_IMAGES}, {size_limits.MAX_INPUT_BYTES // MEBIBYTE} MiB each, "
        f"{size_limits.MAX_INPUT_BYTES_TOGETHER // MEBIBYTE} MiB together",
    ],
}


def other_fields(*, bytes_per_character: int) -> int:
    """Bytes that all other fields of the largest request take, with its URLs."""
    characters = (
        2 * size_limits.MAX_PROMPT_CHARACTERS
        + size_limits.MAX_PROVIDER_CHARACTERS * (1 + size_limits.MAX_FALLBACKS)
        + size_limits.MAX_MODEL_CHARACTERS
        + size_limits.MAX_QUALITY_CHARACTERS
        + size_limits.MAX_END_USER_CHARACTERS
        + size_limits.MAX_URL_CHARACTERS * (2 + size_limits.MAX_INPUT_IMAGES)
        + size_limits.MAX_METADATA_ENTRIES
        * (size_limits.MAX_METADATA_KEY_CHARACTERS + size_limits.MAX_METADATA_VALUE_CHARACTERS)
    )
    return characters * bytes_per_character + 4 * size_limits.MAX_OPTIONS_BYTES


def test_a_body_holds_the_largest_inputs_in_base64_and_all_other_fields() -> None:
    in_base64 = 4 * (size_limits.MAX_INPUT_BYTES_TOGETHER // 3 + 1 + size_limits.MAX_INPUT_IMAGES)

    assert in_base64 + other_fields(bytes_per_character=LONGEST_CHARACTER) < size_limits.MAX_BODY_BYTES


def test_a_grpc_message_holds_the_largest_job() -> None:
    in_protobuf = size_limits.MAX_INPUT_BYTES_TOGETHER + other_fields(bytes_per_character=4)

    assert in_protobuf < size_limits.MAX_JOB_MESSAGE_BYTES <= size_limits.MAX_WORKER_MESSAGE_BYTES


def test_a_request_as_large_as_all_its_fields_allow_fits_a_grpc_message() -> None:
    text = "\N{GRINNING FACE}" * size_limits.MAX_PROMPT_CHARACTERS
    request = job_pb2.JobRequest(prompt=text, negative_prompt=text)
    for _ in range(size_limits.MAX_INPUT_BYTES_TOGETHER // size_limits.MAX_INPUT_BYTES):
        request.input_images.add(data=b"\xff" * size_limits.MAX_INPUT_BYTES)
    for number in range(size_limits.MAX_METADATA_ENTRIES):
        key = f"{number:02}" + text[: size_limits.MAX_METADATA_KEY_CHARACTERS - 2]
        request.metadata[key] = text[: size_limits.MAX_METADATA_VALUE_CHARACTERS]

    message = job_service_pb2.CreateJobRequest(tenant="acme", request=request)

    assert message.ByteSize() < size_limits.MAX_JOB_MESSAGE_BYTES


def test_one_input_image_may_be_as_large_as_a_pair_together() -> None:
    assert size_limits.MAX_INPUT_BYTES < size_limits.MAX_INPUT_BYTES_TOGETHER
    assert size_limits.MAX_INPUT_BYTES < size_limits.MAX_INPUT_BYTES * size_limits.MAX_INPUT_IMAGES


def test_a_part_of_an_input_image_fits_the_smallest_grpc_message() -> None:
    assert size_limits.INPUT_CHUNK_BYTES < SMALL_REQUEST_BYTES


def test_the_largest_image_of_a_provider_can_be_stored_and_decoded() -> None:
    assert size_limits.MAX_INPUT_BYTES <= size_limits.MAX_IMAGE_BYTES < LARGEST_OBJECT
    # Pillow's largest pixel has four bytes.
    assert size_limits.MAX_PIXELS * 4 < MAX_MEMORY


def test_a_side_alone_does_not_exceed_the_limit_on_pixels() -> None:
    assert size_limits.MAX_SIDE < size_limits.MAX_PIXELS < size_limits.MAX_SIDE**2


@pytest.mark.parametrize(("page", "sentence"), [(page, item) for page, items in PAGES.items() for item in items])
def test_a_page_names_the_limit_that_holds(page: str, sentence: str) -> None:
    assert sentence in (ROOT / page).read_text(encoding="utf-8")
