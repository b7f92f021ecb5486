"""Temporary."""
import io
from PIL import Image
def render(*, prompt, negative_prompt, seed, width, height, output_format, progress=None):
    b = io.BytesIO(); Image.new("RGB", (width, height), (seed % 255, 30, 90)).save(b, output_format.upper()); return b.getvalue()
