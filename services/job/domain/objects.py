"""Names of objects, derived from what the database knows. What a worker says of them is compared, never stored."""

_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def staged_name(*, job_id: str, call_id: str, index: int) -> str:
    """Where a generator stages an image of a call."""
    return f"{job_id}/{call_id}/{index}"


def public_name(*, job_id: str, index: int, sha256: str, content_type: str) -> str:
    """Where an uploader publishes an image."""
    return f"jobs/{job_id}/{index}-{sha256[:16]}.{_EXTENSIONS.get(content_type, 'bin')}"
