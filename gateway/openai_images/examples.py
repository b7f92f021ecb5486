"""One example for every call of OpenAI's shape."""

from typing import Any

_ID = "job_0193a6b0c1d27e6f8a9b0c1d2e3f4a5b"

GENERATE_IMAGES: dict[str, Any] = {"model": "procedural", "prompt": "A harbour at dawn", "size": "512x512"}
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
ERROR: dict[str, Any] = {
    "error": {
        "message": "There is no model 'none'; GET /v1/models lists them.",
        "type": "invalid_request_error",
        "param": "model",
        "code": "model_not_found",
        "job_id": None,
    }
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
    "editImages": {**GENERATE_IMAGES, "image": "(the bytes of a picture)"},
}
STREAMS: dict[str, str] = {
    "generateImages": f': {_ID}\n\nevent: image_generation.completed\ndata: {{"b64_json": "iVBOR...", ...}}\n\n',
    "editImages": f': {_ID}\n\nevent: image_edit.completed\ndata: {{"b64_json": "iVBOR...", ...}}\n\n',
}
#: By operation and status.
ANSWERS: dict[tuple[str, str], Any] = {
    ("generateImages", "200"): IMAGES,
    ("editImages", "200"): IMAGES,
    ("listModels", "200"): MODELS,
    ("getModel", "200"): MODELS["data"][0],
}
