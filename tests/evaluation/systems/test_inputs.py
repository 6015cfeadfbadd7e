import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vap.evaluation.systems.inputs import ImageRules, checked_text, image_file, public_url


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    path = tmp_path_factory.mktemp("noise") / "noise.png"
    Image.fromarray(pixels).save(path)
    return path


def test_an_image_within_the_rules_keeps_its_pixels(noise):
    content, media_type = image_file(noise, ImageRules(10_000_000, side=100))
    assert media_type == "image/png"
    sent = np.asarray(Image.open(io.BytesIO(content)))
    assert np.array_equal(sent, np.asarray(Image.open(noise)))


def test_a_small_image_is_scaled_up_in_proportion(noise):
    content, _ = image_file(noise, ImageRules(10_000_000, side=300))
    assert Image.open(io.BytesIO(content)).size == (450, 300)


def test_a_large_file_becomes_a_jpeg(noise):
    content, media_type = image_file(noise, ImageRules(120_000))
    assert media_type == "image/jpeg"
    assert len(content) <= 120_000


@pytest.mark.parametrize("rules", [ImageRules(1_000), ImageRules(10_000_000, aspect=1.2)])
def test_what_cannot_be_sent_is_refused_by_name(rules, noise):
    with pytest.raises(ValueError, match="noise"):
        image_file(noise, rules)


@given(st.text(max_size=30), st.integers(0, 30))
def test_a_text_is_sent_whole_or_refused(text, longest):
    if len(text) <= longest:
        assert checked_text(text, longest) == text
    else:
        with pytest.raises(ValueError, match=str(longest)):
            checked_text(text, longest)


def test_addresses_follow_the_published_folder(tmp_path):
    path = tmp_path / "a b" / "clip é.mp4"
    assert public_url(path, "https://x.example/", None) == "https://x.example/clip%20%C3%A9.mp4"
    whole = public_url(path, "https://x.example", tmp_path)
    assert whole == "https://x.example/a%20b/clip%20%C3%A9.mp4"


def test_a_folder_of_frames_has_no_address(tmp_path):
    with pytest.raises(ValueError, match="frames"):
        public_url(tmp_path, "https://x.example", None)
