"""Reads AUTOMATIC1111's responses: images, their seeds, and the checkpoint that drew them."""

import json
import re
from collections.abc import Mapping
from typing import Any

from services.generator.domain.provider_results import ImageSource

_HASH = re.compile(r" \[([0-9a-f]{6,64})\]$")
_EXTENSION = re.compile(r"\.(?:safetensors|sft|ckpt|pth?|gguf)$", re.IGNORECASE)


def info_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns the metadata of the images, which is JSON inside a text; empty if it cannot be read."""
    try:
        info = json.loads(body.get("info") or "{}")
    except (TypeError, ValueError, RecursionError):
        return {}
    return info if isinstance(info, dict) else {}


def images_of(body: Mapping[str, Any], *, count: int) -> tuple[ImageSource, ...]:
    """Returns the images with their seeds, without a grid before them and without extensions' images after them."""
    info, listed = info_of(body), body.get("images")
    first, seeds = info.get("index_of_first_image"), info.get("all_seeds")
    first = first if isinstance(first, int) and not isinstance(first, bool) and first > 0 else 0
    found = [item for item in listed if isinstance(item, str) and item] if isinstance(listed, list) else []
    listed_seeds = seeds if isinstance(seeds, list) else []
    return tuple(
        ImageSource(base64=image, seed=_seed(listed_seeds, number))
        for number, image in enumerate(found[first : first + count])
    )


def is_another(info: Mapping[str, Any], checkpoint: str) -> bool:
    """Returns whether another checkpoint drew the images: servers ignore a checkpoint that they do not have."""
    drawn, drawn_hash = info.get("sd_model_name"), info.get("sd_model_hash")
    if not isinstance(drawn, str) or not drawn:
        return False
    named_hash = _HASH.search(checkpoint)
    hashes = {named_hash[1] if named_hash else checkpoint, checkpoint}
    if isinstance(drawn_hash, str) and any(item.startswith(drawn_hash) for item in hashes if drawn_hash):
        return False
    return _bare(checkpoint) != _bare(drawn)


def _bare(checkpoint: str) -> str:
    """Returns a checkpoint's name in lower case, without folder, extension and hash."""
    name = _HASH.sub("", checkpoint).replace("\\", "/").rpartition("/")[2]
    return _EXTENSION.sub("", name).casefold()


def _seed(seeds: list[Any], number: int) -> int | None:
    seed = seeds[number] if number < len(seeds) else None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63 else None
