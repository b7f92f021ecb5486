"""A mask as a job brings it, and the two forms in which vendors get it: the left of its two pixels is to be edited."""

import base64
import io

from PIL import Image


def _png(mode: str, left: int | tuple[int, ...], right: int | tuple[int, ...]) -> bytes:
    image = Image.new(mode, (2, 1))
    image.putpixel((0, 0), left)
    image.putpixel((1, 0), right)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


#: Transparent where it is to be edited, and black all over.
MASK = _png("RGBA", (0, 0, 0, 0), (0, 0, 0, 255))
#: White where it is to be edited.
WHITE = _png("L", 255, 0)
#: Black where it is to be edited.
BLACK = _png("L", 0, 255)
#: White and transparent where it is to be edited, else black and opaque.
EITHER = _png("RGBA", (255, 255, 255, 0), (0, 0, 0, 255))
#: The forms by the words that goldens write for them: in base64, and in hex.
WORDS = {
    "{white mask, base64}": base64.b64encode(WHITE).decode(),
    "{mask either way, hex}": EITHER.hex(),
}
