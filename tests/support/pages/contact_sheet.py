"""Draws the committed prompts into one labelled sheet: `python -m tests.support.pages.contact_sheet`."""

import io
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from services.generator.adapters.providers.procedural.drawing import render

FOLDER = Path(__file__).resolve().parents[3] / "docs" / "contact-sheet"
PROMPTS, SHEET = FOLDER / "prompts.txt", FOLDER / "contact-sheet.png"
SEED = 7

_COLUMNS, _SIDE, _GAP, _CAPTION = 4, 368, 16, 46
_PAPER, _INK = (250, 247, 240), (46, 42, 40)


def prompts() -> list[str]:
    """The committed prompts, one a line."""
    return [line for line in PROMPTS.read_text(encoding="utf-8").splitlines() if line.strip()]


def sheet(captions: list[str]) -> Image.Image:
    """Returns a page with one image for each prompt and the prompt under it."""
    rows = -(-len(captions) // _COLUMNS)
    width = _GAP + _COLUMNS * (_SIDE + _GAP)
    page = Image.new("RGB", (width, _GAP + rows * (_SIDE + _CAPTION + _GAP)), _PAPER)
    for index, caption in enumerate(captions):
        row, column = divmod(index, _COLUMNS)
        left, top = _GAP + column * (_SIDE + _GAP), _GAP + row * (_SIDE + _CAPTION + _GAP)
        page.paste(_image(caption), (left, top))
        _label(page, caption, left, top + _SIDE)
    return page


def _image(prompt: str) -> Image.Image:
    drawn = render(prompt=prompt, negative_prompt=None, seed=SEED, width=1024, height=1024, output_format="png")
    return Image.open(io.BytesIO(drawn)).resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)


def _label(page: Image.Image, caption: str, left: int, top: int) -> None:
    font = ImageFont.load_default(15)
    pen = ImageDraw.Draw(page)
    for line, text in enumerate(textwrap.wrap(caption, 52)[:2]):
        pen.text((left + _SIDE / 2, top + 9 + line * 19), text, fill=_INK, font=font, anchor="ma")


if __name__ == "__main__":
    sheet(prompts()).save(SHEET, optimize=True)
    print(f"{SHEET} ({SHEET.stat().st_size:,} bytes)")
