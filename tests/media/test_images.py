import sys

import numpy as np
import pytest
from PIL import Image

from tests.media.making import flat, moving
from vap.extras import MissingExtraError
from vap.media import MediaError, MediaLimits, files, read_clip, read_image

PICTURE = Image.fromarray(moving(1)[0])


def test_orientation_of_photographs_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned; show it turned clockwise
    PICTURE.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    assert (np.asarray(read_image(tmp_path / "a.png")) == np.asarray(PICTURE)).all()


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (4, 4), (0, 0, 0, 128)), (127, 127, 127)),
        (Image.new("LA", (4, 4), (0, 255)), (0, 0, 0)),
        (Image.new("L", (4, 4), 77), (77, 77, 77)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("P", (4, 4), 0), (0, 0, 0)),
        (Image.fromarray(np.full((4, 4), 0x4D12, np.uint16)), (0x4D, 0x4D, 0x4D)),
    ],
    ids=["transparent", "half", "grey alpha", "grey", "bits", "palette", "16 bit"],
)
def test_every_mode_becomes_rgb(tmp_path, image, expected):
    image.save(tmp_path / "a.png")
    for source in (image, tmp_path / "a.png", str(tmp_path / "a.png")):
        found = read_image(source)
        assert found.mode == "RGB"
        assert found.getpixel((1, 1)) == expected


def test_transparent_palette_entry_is_laid_on_white(tmp_path):
    image = Image.new("P", (4, 4), 3)
    image.putpalette([9] * 768)
    image.save(tmp_path / "a.png", transparency=3)
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (255, 255, 255)


def test_float_images_and_arrays_are_zero_to_one():
    assert read_image(Image.new("F", (2, 2), 0.2)).getpixel((0, 0)) == (51, 51, 51)
    assert read_image(np.full((2, 3, 3), 0.2)).getpixel((0, 0)) == (51, 51, 51)
    assert read_image(flat(7)[0]).size == (32, 32)


@pytest.mark.parametrize(
    ("mode", "value", "said"),
    [
        ("I", 200, "from 200 to 200.*8 or 16 bits"),
        ("I", 70_000, "70000"),
        ("I", -1, "-1"),
        ("F", 255.0, "255.*divide by 255"),
        ("F", float("nan"), "nan"),
    ],
)
def test_grey_that_would_come_out_black_or_white_is_refused(tmp_path, mode, value, said):
    image = Image.new(mode, (4, 4), value)
    with pytest.raises(MediaError, match=f"image: .*{said}"):
        read_image(image)
    image.save(tmp_path / "grey.tif")
    with pytest.raises(MediaError, match=rf"grey\.tif: .*{said}"):
        read_image(tmp_path / "grey.tif")


@pytest.mark.parametrize(("value", "grey"), [(0, 0), (0x4D12, 0x4D), (0xFFFF, 255)])
def test_sixteen_bits_in_an_image_of_32_keep_their_high_ones(value, grey):
    assert read_image(Image.new("I", (4, 4), value)).getpixel((0, 0)) == (grey,) * 3


def test_first_frame_of_an_animation_is_read(tmp_path):
    first, second = (Image.fromarray(frame) for frame in flat(10, 200))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.gif").getpixel((0, 0)) == (10, 10, 10)


def test_result_is_a_copy():
    read_image(PICTURE).putpixel((0, 0), (1, 2, 3))
    assert PICTURE.getpixel((0, 0)) != (1, 2, 3)


@pytest.mark.parametrize("source", [PICTURE, np.asarray(PICTURE)], ids=["image", "array"])
def test_images_in_memory_obey_the_limits(source):
    with pytest.raises(MediaError, match="64x48"):
        read_image(source, limits=MediaLimits(pixels=100))


def ftyp(*brands):
    content = brands[0] + bytes(4) + b"".join(brands[1:])
    return (len(content) + 8).to_bytes(4) + b"ftyp" + content


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        ([b"avif"], files.AVIF),
        ([b"mif1", b"avif", b"miaf"], files.AVIF),
        ([b"msf1", b"avis"], files.ANIMATED_AVIF),
        ([b"avis", b"avif"], files.ANIMATED_AVIF),
        ([b"mif1", b"heic"], files.HEIC),
        ([b"mif1"], files.HEIC),
        *[([brand], files.HEIC) for brand in (b"heic", b"heix", b"heim", b"heis", b"hevc")],
        ([b"isom", b"mif1", b"avif"], files.MP4),
        ([b"qt  "], files.MP4),
    ],
    ids=str,
)
def test_brands_of_heif_are_told_apart(brands, kind):
    assert files.identify(ftyp(*brands)) == kind


def test_avif_of_every_brand_that_pillow_opens_is_opened(tmp_path):
    PICTURE.save(tmp_path / "a.avif")
    content = (tmp_path / "a.avif").read_bytes()
    for brand in (b"avif", b"mif1", b"msf1"):
        (tmp_path / "b.avif").write_bytes(content.replace(b"ftypavif", b"ftyp" + brand, 1))
        assert read_image(tmp_path / "b.avif").size == PICTURE.size


def test_an_animated_avif_is_an_image_and_no_clip(tmp_path):
    first, second = (Image.fromarray(frame) for frame in flat(10, 200))
    first.save(tmp_path / "a.avif", save_all=True, append_images=[second])
    assert read_image(tmp_path / "a.avif").size == (32, 32)
    with pytest.raises(MediaError, match="animated AVIF"):
        read_clip(tmp_path / "a.avif")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_damaged_avif_is_refused(tmp_path, share):
    PICTURE.save(tmp_path / "a.avif")
    content = (tmp_path / "a.avif").read_bytes()
    (tmp_path / "a.avif").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(MediaError, match=r"a\.avif"):
        read_image(tmp_path / "a.avif")


def test_heic_is_read_where_its_extra_is_installed(tmp_path):
    pytest.importorskip("pillow_heif").register_heif_opener()
    PICTURE.save(tmp_path / "a.heic", quality=95)
    found = np.asarray(read_image(tmp_path / "a.heic")).astype(int)
    assert np.abs(found - np.asarray(PICTURE)).mean() < 4


def test_heic_without_its_extra_names_it(tmp_path, monkeypatch):
    (tmp_path / "a.heic").write_bytes(ftyp(b"heic", b"mif1") + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtraError, match=r"a\.heic.*\[heic\]"):
        read_image(tmp_path / "a.heic")
