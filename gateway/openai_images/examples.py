"""Examples for the OpenAI paths in the API documentation."""

import json
from typing import Any

from gateway.problems.problem import INTERNAL_DETAIL

_ID = "job_0193a6b0c1d27e6f8a9b0c1d2e3f4a5b"

GENERATE_IMAGES: dict[str, Any] = {"model": "procedural", "prompt": "A harbour at dawn", "size": "512x512"}
#: A JSON body of `editImages`; its form is in `BODIES`.
EDIT_IMAGES: dict[str, Any] = {
    **GENERATE_IMAGES,
    "images": [{"image_url": "https://shop.example.com/harbour.png"}],
}
IMAGES: dict[str, Any] = {
    "created": 1_769_860_802,
    "data": [
        {
            "url": f"https://images.example.com/jobs/{_ID}/0-9f86d081884c7d65.png",
            "b64_json": None,
            "revised_prompt": None,
        }
    ],
    "output_format": "png",
    "size": "512x512",
}
_INVALID, _SERVER = "invalid_request_error", "server_error"
#: By status: message, type, parameter, code.
_ERRORS = {
    "400": ("n: Input should be less than or equal to 10", _INVALID, "n", "invalid_value"),
    "401": ("Send the header Authorization: Bearer KEY.", "authentication_error", None, "invalid_api_key"),
    "403": (
        "A client token gives access to its own job only. Send an API key.",
        "permission_error",
        None,
        "permission_denied",
    ),
    "404": ("There is no model 'none'; GET /v1/models lists them.", _INVALID, "model", "model_not_found"),
    "409": (f"The job {_ID} was canceled.", _INVALID, None, "job_canceled"),
    "410": ("The job of this Idempotency-Key was deleted.", _INVALID, None, "job_deleted"),
    "413": ("The body is larger than 58,720,256 bytes.", _INVALID, None, "too_large"),
    "415": (
        "Send the header Content-Type: application/json, and UTF-8 text.",
        _INVALID,
        None,
        "unsupported_media_type",
    ),
    "429": ("The provider's rate limit is reached.", "rate_limit_error", None, "rate_limit_exceeded"),
    "500": (INTERNAL_DETAIL, _SERVER, None, "internal"),
    "502": ("The provider rejected the credentials of this service.", _SERVER, None, "provider_auth"),
    "503": ("The job service cannot be reached right now. Try again.", _SERVER, None, "service_unavailable"),
    "504": (
        f"The job {_ID} is still running. Repeat this request to wait for it, or read GET /v1/jobs/{_ID}.",
        _SERVER,
        None,
        "still_running",
    ),
}
ERRORS: dict[str, dict[str, Any]] = {
    status: {
        "error": {
            "message": message,
            "type": kind,
            "param": parameter,
            "code": code,
            "job_id": _ID if _ID in message else None,
        }
    }
    for status, (message, kind, parameter, code) in _ERRORS.items()
}
MODELS: dict[str, Any] = {
    "object": "list",
    "data": [
        {"id": "procedural", "object": "model", "created": 0, "owned_by": "procedural"},
        {"id": "procedural/v1", "object": "model", "created": 0, "owned_by": "procedural"},
    ],
}
BODIES: dict[str, dict[str, Any]] = {
    "generateImages": GENERATE_IMAGES,
    "editImages": {**GENERATE_IMAGES, "image": ["(the bytes of an image)"]},
}


def _stream(kind: str) -> str:
    usage = {"input_tokens": 0, "output_tokens": 0, "total_tokens": 0}
    data = {
        "type": kind,
        "b64_json": "iVBORw0KGgo=",
        "created_at": 1_769_860_802,
        "size": "512x512",
        "quality": "auto",
        "background": "auto",
        "output_format": "png",
        "usage": usage | {"input_tokens_details": {"text_tokens": 0, "image_tokens": 0}},
    }
    return f": {_ID}\n\nevent: {kind}\ndata: {json.dumps(data)}\n\n"


STREAMS: dict[str, str] = {
    "generateImages": _stream("image_generation.completed"),
    "editImages": _stream("image_edit.completed"),
}
#: By operation and status.
RESPONSES: dict[tuple[str, str], Any] = {
    ("generateImages", "200"): IMAGES,
    ("editImages", "200"): IMAGES,
    ("listModels", "200"): MODELS,
    ("getModel", "200"): MODELS["data"][0],
}
