"""``python tools/card.py``: the picture that is shown where the book's address is shared.

The still of the landing page, from ``python tools/hero.py``, below the title.
"""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

STATIC = Path(__file__).resolve().parent.parent / "book" / "_static"
FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SIZE, TOP = (1200, 630), 262  # pixels: the card, and where the belt begins
PAPER, INK, SOFT = "#10161f", "#f4f6f9", "#a9b6c8"
LEGAL, GLOW = (94, 207, 201), (245, 158, 45)
TITLE = "Where is the object,\nif nobody ever said?"
SAYS = "Temporal-consistent class activation maps  ·  an executable book"


def card(still: Image.Image) -> Image.Image:
    """The card, RGB, of :data:`SIZE`, around a still of any size."""
    made = Image.new("RGB", SIZE, PAPER)
    height = round(still.height * SIZE[0] / still.width)
    belt = still.convert("RGB").resize((SIZE[0], height), Image.Resampling.LANCZOS)
    room = SIZE[1] - TOP
    upper = (height - room) // 2
    made.paste(belt.crop((0, upper, SIZE[0], upper + room)), (0, TOP))
    draw = ImageDraw.Draw(made)
    for x in range(SIZE[0]):
        share = x / (SIZE[0] - 1)
        color = tuple(round(a + share * (b - a)) for a, b in zip(LEGAL, GLOW, strict=True))
        draw.line([(x, TOP - 8), (x, TOP - 1)], fill=color)
    serif = ImageFont.truetype(str(FONTS / "DejaVuSerif-Bold.ttf"), 60)
    sans = ImageFont.truetype(str(FONTS / "DejaVuSans.ttf"), 27)
    draw.multiline_text((64, 32), TITLE, INK, serif, spacing=12)
    draw.text((64, 202), SAYS, SOFT, sans)
    return made


def coded(made: Image.Image) -> bytes:
    """The card as JPEG, which every site that shows cards reads."""
    file = BytesIO()
    made.save(file, "JPEG", quality=86, optimize=True, progressive=True)
    return file.getvalue()


def main() -> None:
    """Write card.jpg."""
    with Image.open(STATIC / "hero-still.webp") as still:
        (STATIC / "card.jpg").write_bytes(coded(card(still)))


if __name__ == "__main__":
    main()
