"""Drawn faces: everyone looks different, and the test pictures show the same face transformed."""

import io
import random

from PIL import Image, ImageDraw, ImageEnhance

SIZE = 56
SKIN = ("#ffe0bd", "#f1c27d", "#e0ac69", "#c68642", "#8d5524", "#5c3a21")
HAIR = ("#1b1b1b", "#6b3e1f", "#d8b24a", "#b5391f", "#8c8c8c", "#3b2a7a", "#1f7a4d", "#e377c2")
BACKGROUND = ("#a6cee3", "#b2df8a", "#fb9a99", "#fdbf6f", "#cab2d6", "#ffff99", "#e0e0e0", "#80cdc1")
SHIRT = ("#1f78b4", "#33a02c", "#e31a1c", "#ff7f00", "#6a3d9a", "#b15928", "#222222", "#f7f7f7")
HAIR_CUTS = ("bald", "short", "long", "top", "side")
EXTRAS = ("none", "glasses", "hat", "beard", "earrings", "scarf")


def face(look: tuple[int, ...]) -> Image.Image:
    """A 56 x 56 RGB face. look: indices into skin, hair, background, shirt, cut and extra."""
    skin, hair, background, shirt, cut, extra = (
        values[i] for values, i in zip((SKIN, HAIR, BACKGROUND, SHIRT, HAIR_CUTS, EXTRAS), look, strict=True)
    )
    image = Image.new("RGB", (SIZE, SIZE), background)
    draw = ImageDraw.Draw(image)
    if cut == "long":
        draw.ellipse((10, 6, 46, 50), fill=hair)
    draw.ellipse((6, 42, 50, 74), fill=shirt)
    draw.ellipse((15, 12, 41, 46), fill=skin)
    if cut in ("short", "long"):
        draw.pieslice((13, 6, 43, 36), 180, 360, fill=hair)
    elif cut == "top":
        draw.ellipse((20, 2, 36, 18), fill=hair)
    elif cut == "side":
        draw.pieslice((12, 6, 44, 40), 150, 300, fill=hair)
    for x in (22, 34):
        draw.ellipse((x - 2, 25, x + 2, 29), fill="#101010")
    draw.arc((21, 30, 35, 41), 20, 160, fill="#7a1f1f", width=2)
    if extra == "glasses":
        for x in (22, 34):
            draw.ellipse((x - 5, 22, x + 5, 32), outline="#000000", width=2)
        draw.line((27, 27, 29, 27), fill="#000000", width=2)
    elif extra == "hat":
        draw.rectangle((12, 8, 44, 14), fill="#2b2b2b")
        draw.rectangle((19, 0, 37, 9), fill="#2b2b2b")
    elif extra == "beard":
        draw.pieslice((16, 24, 40, 48), 20, 160, fill=hair)
    elif extra == "earrings":
        for x in (14, 42):
            draw.ellipse((x - 3, 31, x + 3, 37), fill="#ffd700", outline="#806000")
    elif extra == "scarf":
        draw.rectangle((14, 42, 42, 50), fill="#d400d4")
    return image


def draw_looks(count: int, rng: random.Random) -> list[tuple[int, ...]]:
    """`count` different looks; neighbours in the list differ like any two others."""
    sizes = [len(values) for values in (SKIN, HAIR, BACKGROUND, SHIRT, HAIR_CUTS, EXTRAS)]
    looks: dict[tuple[int, ...], None] = {}
    while len(looks) < count:
        looks[tuple(rng.randrange(size) for size in sizes)] = None
    return list(looks)


def transformed(image: Image.Image, rng: random.Random) -> Image.Image:
    """The same face for the test set: turned a little, shifted, brighter or darker."""
    turned = image.rotate(rng.uniform(-12, 12), resample=Image.Resampling.BILINEAR, fillcolor=image.getpixel((0, 0)))
    dx, dy = rng.randint(-4, 4), rng.randint(-4, 4)
    moved = Image.new("RGB", image.size, image.getpixel((0, 0)))
    moved.paste(turned, (dx, dy))
    return ImageEnhance.Brightness(moved).enhance(rng.uniform(0.85, 1.15))


def png(image: Image.Image) -> bytes:
    """PNG bytes with a palette of 64 colours, about 500 bytes a face."""
    out = io.BytesIO()
    image.quantize(64).save(out, format="PNG", optimize=True)
    return out.getvalue()
