"""Encodes the image as a file, with metadata that names the software and the seed."""

import io
from typing import Literal
from xml.sax.saxutils import escape

from PIL import Image
from PIL.PngImagePlugin import PngInfo

OutputFormat = Literal["png", "jpeg", "webp"]

SOFTWARE = "Calotype procedural"
DESCRIPTION = "Synthetic picture drawn by rules from the prompt; not made by AI"
#: IPTC's term for media made by an algorithm that was not trained on data.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"

_IMAGE_DESCRIPTION, _SOFTWARE_TAG, _EXIF_FOLDER, _USER_COMMENT = 0x010E, 0x0131, 0x8769, 0x9286


def encode(image: Image.Image, output_format: OutputFormat, seed: int) -> bytes:
    """Returns the image as a file; PNG has text chunks, JPEG and WebP have EXIF, and all have XMP."""
    file = io.BytesIO()
    packet = _xmp(seed)
    match output_format:
        case "png":
            image.save(file, "PNG", pnginfo=_chunks(seed, packet), compress_level=6)
        case "jpeg":
            image.save(file, "JPEG", quality=92, subsampling=0, optimize=True, exif=_exif(seed), xmp=packet)
        case "webp":
            image.save(file, "WEBP", quality=90, method=3, exif=_exif(seed), xmp=packet)
    return file.getvalue()


def _chunks(seed: int, packet: bytes) -> PngInfo:
    chunks = PngInfo()
    chunks.add_text("Software", SOFTWARE)
    chunks.add_text("Description", DESCRIPTION)
    chunks.add_text("Seed", str(seed))
    chunks.add_itxt("XML:com.adobe.xmp", packet.decode())
    return chunks


def _exif(seed: int) -> bytes:
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = DESCRIPTION
    exif[_SOFTWARE_TAG] = SOFTWARE
    exif.get_ifd(_EXIF_FOLDER)[_USER_COMMENT] = b"ASCII\0\0\0" + f"Seed: {seed}".encode()
    return exif.tobytes()


def _xmp(seed: int) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmp:CreatorTool="{escape(SOFTWARE)}" Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">'
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{escape(DESCRIPTION)}</rdf:li></rdf:Alt>'
        "</dc:description>"
        f'<exif:UserComment><rdf:Alt><rdf:li xml:lang="x-default">Seed: {seed}</rdf:li></rdf:Alt></exif:UserComment>'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()
