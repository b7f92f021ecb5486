"""Names and public URLs of objects in the two buckets, as job-, generator- and uploader-service derive them.

Staging, private: `<job_id>/<call_id>/<index>` for an image, `<job_id>/<call_id>/raw/<part>` for a response that was
paid for and is no readable image. Public: `jobs/<job_id>/<index>-<16 hex digits of the SHA-256>.<extension>`.
"""

import re

PUBLIC_ROOT = "jobs/"
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
_JOB_ID = r"job_[0-9a-f]{32}"
_STAGED = re.compile(rf"({_JOB_ID})/(.*)", re.DOTALL)
_STAGED_OF_CALL = re.compile(rf"{_JOB_ID}/(call_[0-9a-f]{{32}})/.+", re.DOTALL)
_PUBLIC = re.compile(rf"{PUBLIC_ROOT}({_JOB_ID})/(.*)", re.DOTALL)


def staged_folder(job_id: str) -> str:
    """Returns the prefix of every object that a job has in staging."""
    return f"{job_id}/"


def staged_call_folder(*, job_id: str, call_id: str) -> str:
    """Returns the prefix of every object that a provider call has in staging."""
    return f"{staged_folder(job_id)}{call_id}/"


def staged_name(*, job_id: str, call_id: str, index: int) -> str:
    """Returns the name of an image of a call in staging; `index` counts from 0 within the call."""
    return f"{staged_call_folder(job_id=job_id, call_id=call_id)}{index}"


def raw_folder(*, job_id: str, call_id: str) -> str:
    """Returns the prefix of the unread responses of a call in staging."""
    return f"{staged_call_folder(job_id=job_id, call_id=call_id)}raw/"


def public_folder(job_id: str) -> str:
    """Returns the prefix of every public object of a job."""
    return f"{PUBLIC_ROOT}{job_id}/"


def public_name(*, job_id: str, index: int, sha256: str, content_type: str) -> str:
    """Returns the name of a public image; `index` counts from 0 within the job.

    The digest is in the name, so an object of that name is a finished copy of the same image.
    """
    return f"{public_folder(job_id)}{index}-{sha256[:16]}.{_EXTENSIONS.get(content_type, 'bin')}"


def public_url(name: str, *, base_url: str) -> str:
    """URL of a public object; `base_url` is the setting `CALOTYPE_PUBLIC_BASE_URL`, which leads to the bucket."""
    return f"{base_url.rstrip('/')}/{name}"


def job_of_staged(name: str) -> str | None:
    """Returns the job of an object in staging; None for a name in another format."""
    return _job_of(_STAGED, name)


def call_of_staged(name: str) -> str | None:
    """Returns the provider call of an object in staging; None for a name in another format."""
    match = _STAGED_OF_CALL.fullmatch(name)
    return match[1] if match else None


def job_of_public(name: str) -> str | None:
    """Returns the job of a public object; None for a name in another format."""
    return _job_of(_PUBLIC, name)


def is_staged_folder(prefix: str) -> bool:
    """Returns whether a prefix is one job's folder in staging: neither the whole bucket nor a part of a name."""
    return _is_folder(_STAGED, prefix)


def is_public_folder(prefix: str) -> bool:
    """Returns whether a prefix is one job's public folder: neither the whole bucket nor a part of a name."""
    return _is_folder(_PUBLIC, prefix)


def _job_of(pattern: re.Pattern[str], name: str) -> str | None:
    match = pattern.fullmatch(name)
    return match[1] if match and match[2] else None


def _is_folder(pattern: re.Pattern[str], prefix: str) -> bool:
    match = pattern.fullmatch(prefix)
    return match is not None and not match[2]
