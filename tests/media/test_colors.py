"""Colors that cameras write, of patches whose sRGB values are known."""

import gc
import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from tests.media.making import animate, encode, flat
from vap.media import MediaError, read_clip, read_image

PATCHES = ((200, 30, 30), (30, 200, 30), (30, 30, 200), (224, 172, 140), (128, 128, 128))
BT709, BT601, BT2020, P3, PQ, HLG = 1, 6, 9, 12, 16, 18
FROM_709 = {  # BT.2087 and SMPTE EG 432-1, to four digits
    BT709: np.eye(3),
    BT2020: [[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]],
    P3: [[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]],
}


def light(patch):
    value = np.array(patch) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def code(linear, transfer):
    """Signal 0..1 of light, of which 1 is SDR white."""
    nits = linear * 203
    if transfer == PQ:
        power = (nits / 10_000) ** (2610 / 16384)
        return ((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32)
    if transfer == HLG:
        scene = (nits / 1000) ** (1 / 1.2)
        high = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
        return np.where(scene <= 1 / 12, np.sqrt(3 * scene), high)
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)


def signal(patch, transfer=BT709, primaries=BT709):
    return code(np.array(FROM_709[primaries]) @ light(patch), transfer)


def video(path, signals, transfer, primaries, matrix, color_range=1, pix_fmt="yuv444p10le"):
    """A clip of two frames whose columns are of the given signals."""
    values = np.rint(np.repeat(signals, 16, axis=0) * 65280).astype(np.uint16)
    pixels = np.broadcast_to(values, (48, *values.shape)).copy()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        stream.height, stream.width, stream.pix_fmt = *pixels.shape[:2], pix_fmt
        for target in (stream.codec_context, *(frames := [blank(pixels) for _ in range(2)])):
            target.color_trc, target.color_primaries = transfer, primaries
            target.colorspace, target.color_range = matrix, color_range
        for index, frame in enumerate(frames):
            told = frame.reformat(
                format=pix_fmt, dst_colorspace=matrix, dst_color_range=color_range
            )
            told.color_trc, told.color_primaries = transfer, primaries
            told.colorspace, told.color_range = matrix, color_range
            told.pts, told.time_base = index, Fraction(1, 16)
            container.mux(stream.encode(told))
        container.mux(stream.encode())
    return path


def blank(pixels):
    return av.VideoFrame.from_ndarray(pixels, format="rgb48le")


def shown(path):
    """Colors in the middle of the columns."""
    return read_clip(path).frames[1, 24, 8::16].astype(int)


@pytest.mark.parametrize(
    ("transfer", "primaries", "matrix"),
    [(HLG, BT2020, 9), (PQ, BT2020, 9), (PQ, P3, 9), (BT709, P3, 1), (13, P3, 1), (14, BT2020, 9)],
    ids=["HLG", "PQ", "PQ in P3", "Display P3", "P3 as sRGB", "BT.2020 SDR"],
)
def test_patches_of_every_color_space_come_out_alike(tmp_path, transfer, primaries, matrix):
    signals = [signal(patch, transfer, primaries) for patch in PATCHES]
    for pix_fmt in ("yuv444p10le", "yuv420p10le"):
        path = video(tmp_path / "a.mkv", signals, transfer, primaries, matrix, pix_fmt=pix_fmt)
        assert np.abs(shown(path) - PATCHES).max() <= 4


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9], ids=lambda matrix: f"matrix {matrix}")
@pytest.mark.parametrize("color_range", [1, 2], ids=["limited", "full"])
def test_matrix_and_range_are_honored(tmp_path, matrix, color_range):
    signals = [signal(patch) for patch in PATCHES]
    path = video(tmp_path / "a.mkv", signals, BT709, BT709, matrix, color_range)
    assert np.abs(shown(path) - PATCHES).max() <= 2


def test_highlights_of_hdr_stay_apart_and_below_white(tmp_path):
    nits = np.array([150, 203, 400, 700, 1000])
    signals = code(np.repeat(nits[:, None] / 203, 3, axis=1), PQ)
    found = shown(video(tmp_path / "a.mkv", signals, PQ, BT2020, 9))
    assert (np.diff(found[:, 0]) > 0).all()
    assert found[1].min() > 230
    assert found[-1].min() >= 253


def test_an_untold_matrix_follows_from_the_size(tmp_path):
    for size, matrix in (((48, 64), BT601), ((720, 1280), BT709)):
        wide = np.broadcast_to(np.uint8([30, 200, 30]), (2, *size, 3)).copy()
        frame = av.VideoFrame.from_ndarray(wide[0], format="rgb24")
        yuv = frame.reformat(format="yuv444p", dst_colorspace=matrix).to_ndarray()
        path = untold(tmp_path / "a.mkv", yuv, size)
        assert np.abs(read_clip(path).frames[0, 8, 8].astype(int) - (30, 200, 30)).max() <= 2


def untold(path, yuv, size):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=16)
        (stream.height, stream.width), stream.pix_fmt = size, "yuv444p"
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(yuv, format="yuv444p")
            frame.pts, frame.time_base = index, Fraction(1, 16)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_matrix_that_nobody_has_is_named(tmp_path):
    path = video(tmp_path / "a.mkv", [signal(patch) for patch in PATCHES], BT709, BT709, 1)
    content = path.read_bytes()
    told = b"\x55\xb1\x81\x01"  # Matroska's MatrixCoefficients
    assert told in content
    path.write_bytes(content.replace(told, b"\x55\xb1\x81\x08"))
    with pytest.raises(MediaError, match=r"a\.mkv.*matrix 8"):
        read_clip(path)


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg2video", ".mkv"), ("libx264", ".mp4")])
def test_interlaced_video_is_deinterlaced(tmp_path, codec, suffix):
    def scene(moment):
        frame = np.full((96, 160, 3), 40, np.uint8)
        frame[:, 10 + 6 * moment : 30 + 6 * moment] = 220
        return frame

    frames = np.stack([scene(2 * index) for index in range(8)])
    frames[:, 1::2] = np.stack([scene(2 * index + 1) for index in range(8)])[:, 1::2]
    options = {"flags": "+ilme+ildct", "b": "4M"}
    if codec == "libx264":
        options = {"x264-params": "tff=1", "crf": "5"}
    clip = read_clip(encode(tmp_path / f"a{suffix}", frames, codec, options=options))
    assert (len(clip.frames), clip.fps) == (8, 16)
    found = clip.frames.astype(int)
    assert np.abs(found[:, 20:70:2] - found[:, 21:71:2]).mean() < 1  # no comb
    for index in (0, 3, 7):
        away = [np.abs(found[index] - scene(2 * index + field)).mean() for field in (0, 1)]
        assert min(away) < 1


def display_p3():
    """A profile of Display P3, with the sRGB curve: Pillow's own, with other colorants."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    colorants = {
        b"rXYZ": (0.51512, 0.24120, -0.00105),
        b"gXYZ": (0.29198, 0.69225, 0.04189),
        b"bXYZ": (0.15710, 0.06657, 0.78407),
    }
    for name, values in colorants.items():
        entry = profile.index(name)
        at = int.from_bytes(profile[entry + 4 : entry + 8]) + 8
        profile[at : at + 12] = np.rint(np.array(values) * 65536).astype(">i4").tobytes()
    return bytes(profile)


def columns(values):
    wide = np.repeat(np.rint(values).astype(np.uint8), 16, axis=0)
    return Image.fromarray(np.broadcast_to(wide, (48, *wide.shape)).copy())


def in_p3():
    return columns([signal(patch, BT709, P3) * 255 for patch in PATCHES])


def away(image):
    return np.abs(np.asarray(image)[24, 8::16].astype(int) - PATCHES).max()


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg", "avif"])
def test_pictures_in_display_p3_become_srgb(tmp_path, suffix):
    options = {"lossless": True} if suffix == "webp" else {"quality": 100}
    in_p3().save(tmp_path / f"a.{suffix}", icc_profile=display_p3(), **options)
    found = read_image(tmp_path / f"a.{suffix}")
    assert away(found) <= 8
    assert away(read_image(found)) == away(found)  # converted once


def test_transparent_and_animated_pictures_keep_their_profile(tmp_path):
    image = in_p3()
    image.putalpha(255)
    image.save(tmp_path / "a.png", icc_profile=display_p3())
    assert away(read_image(tmp_path / "a.png")) <= 3
    for suffix, options in ((".png", {}), (".webp", {"lossless": True})):
        path = animate(
            tmp_path / f"b{suffix}",
            [in_p3(), in_p3().rotate(180)],
            [100, 100],
            icc_profile=display_p3(),
            **options,
        )
        assert away(read_clip(path).frames[0]) <= 3


def test_a_picture_in_srgb_is_untouched_whatever_its_profile_is_called(tmp_path):
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png", icc_profile=srgb)
    assert (np.asarray(read_image(tmp_path / "a.png")) == noise).all()


@pytest.mark.parametrize("profile", [b"no profile", display_p3()[:200]])
def test_a_damaged_profile_is_told_and_passed_over(tmp_path, caplog, profile):
    image = in_p3()
    image.save(tmp_path / "a.png", icc_profile=profile)
    assert (np.asarray(read_image(tmp_path / "a.png")) == np.asarray(image)).all()
    assert "color profile" in caplog.text


def test_gray_and_cmyk_with_a_profile_are_read(tmp_path):
    gray = Image.fromarray(flat(128)[0, ..., 0])
    gray.save(tmp_path / "a.png", icc_profile=display_p3())  # of other channels: passed over
    assert read_image(tmp_path / "a.png").getpixel((0, 0)) == (128, 128, 128)
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "b.jpg")
    assert np.abs(np.array(read_image(tmp_path / "b.jpg").getpixel((0, 0))) - (255, 0, 0)).max() < 3


def test_gamma_and_chromaticities_of_a_png_are_honored(tmp_path):
    notes = PngImagePlugin.PngInfo()
    notes.add(b"gAMA", (100_000).to_bytes(4))
    linear = columns([light(patch) * 255 for patch in PATCHES])
    linear.save(tmp_path / "a.png", pnginfo=notes)
    assert (
        np.abs(np.asarray(read_image(tmp_path / "a.png"))[24, 56].astype(int) - PATCHES[3]).max()
        < 4
    )
    notes = PngImagePlugin.PngInfo()
    places = (31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    notes.add(b"cHRM", b"".join(place.to_bytes(4) for place in places))
    in_p3().save(tmp_path / "b.png", pnginfo=notes)
    assert away(read_image(tmp_path / "b.png")) <= 4
    notes = PngImagePlugin.PngInfo()
    notes.add(b"cHRM", bytes(32))
    in_p3().save(tmp_path / "c.png", pnginfo=notes)
    assert (np.asarray(read_image(tmp_path / "c.png")) == np.asarray(in_p3())).all()


def test_sixteen_bits_become_eight(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 4), 0x8040, np.uint16)).save(
        stream, "PNG", icc_profile=display_p3()
    )
    assert read_image(Image.open(stream)).getpixel((0, 0)) == (0x80,) * 3


def test_png_frames_with_a_profile_inside_a_video_do_no_harm(tmp_path):
    in_p3().save(tmp_path / "a.png", icc_profile=display_p3())
    with av.open(str(tmp_path / "a.mov"), "w") as container:
        stream = container.add_stream("png", rate=16)
        stream.width, stream.height, stream.pix_fmt = *in_p3().size, "rgb24"
        for index in range(2):
            packet = av.Packet((tmp_path / "a.png").read_bytes())
            packet.stream, packet.pts, packet.dts = stream, index, index
            packet.time_base, packet.is_keyframe = Fraction(1, 16), True
            container.mux(packet)
    assert (read_clip(tmp_path / "a.mov").frames[0] == np.asarray(in_p3())).all()
    gc.collect()  # where PyAV would fall over what it made of the profile
