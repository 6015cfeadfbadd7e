"""Warps, filters and canvases against what they should do by hand."""

import numpy as np
import pytest

from vap.synth.canvas import Canvas
from vap.synth.fields import cells, draws, smooth_noise
from vap.synth.filters import blur, grow_mask, hue_wheel, smear
from vap.synth.scene import Layer
from vap.synth.warp import (
    moved,
    paste,
    pixel_grid,
    remap_layer,
    remap_picture,
    warp_layer,
    warp_picture,
)


def spot(x, y, height=32, width=48):
    alpha = np.zeros((height, width, 1), np.float32)
    alpha[y, x] = 1
    return Layer(np.repeat(alpha, 3, axis=2), alpha)


def where(layer):
    row, column = np.unravel_index(layer.alpha[..., 0].argmax(), layer.alpha.shape[:2])
    return column, row


def test_moves_go_where_they_say():
    assert where(warp_layer(spot(10, 12), moved((0, 0), shift=(5, -3)))) == (15, 9)
    assert where(warp_layer(spot(20, 16), moved((16, 16), degrees=90))) == (16, 20)
    assert where(warp_layer(spot(20, 16), moved((16, 16), scale=(2, 1)))) == (24, 16)
    assert where(warp_layer(spot(16, 12), moved((16, 16), shear=1))) == (20, 12)


def test_the_centre_of_a_move_stays():
    matrix = moved((7.0, 9.0), scale=1.7, degrees=33, shear=0.4)
    np.testing.assert_allclose(matrix @ [7.0, 9.0, 1.0], [7.0, 9.0])


def test_what_comes_in_is_transparent_for_layers_and_mirrored_for_pictures():
    picture = np.random.default_rng(0).random((16, 24, 3), np.float32)
    matrix = moved((0, 0), shift=(4, 0))
    np.testing.assert_allclose(warp_picture(picture, matrix)[:, :4], picture[:, 4:0:-1], atol=1e-6)
    layer = Layer(picture, np.ones((16, 24, 1), np.float32))
    assert not warp_layer(layer, matrix).alpha[:, :4].any()


def test_remaps_fetch_from_source_coordinates():
    x, y = pixel_grid(32, 48)
    assert where(remap_layer(spot(10, 12), x - 5, y + 3)) == (15, 9)
    picture = np.random.default_rng(0).random((32, 48, 3), np.float32)
    np.testing.assert_allclose(remap_picture(picture, x, y), picture)


def test_pasting_a_crop_equals_warping_the_whole_layer():
    rng = np.random.default_rng(0)
    whole = Layer(np.zeros((32, 48, 3), np.float32), np.zeros((32, 48, 1), np.float32))
    whole.alpha[10:18, 20:32] = 1
    whole.rgb[10:18, 20:32] = rng.random((8, 12, 3))
    background = rng.random((32, 48, 3), np.float32)
    matrix = moved((26, 14), shift=(6.3, -4.1), degrees=40)
    picture = background.copy()
    paste(picture, Layer(whole.rgb[8:20, 18:34], whole.alpha[8:20, 18:34]), (18, 8), matrix)
    np.testing.assert_allclose(picture, warp_layer(whole, matrix).over(background), atol=2e-2)


def test_pasting_outside_changes_nothing():
    picture = np.ones((16, 16, 3), np.float32)
    paste(picture, spot(1, 1, 4, 4), (0, 0), moved((0, 0), shift=(100, 0)))
    assert (picture == 1).all()


def test_layers_composite_with_multiplied_alpha():
    half = Layer(np.full((2, 2, 3), 0.5, np.float32), np.full((2, 2, 1), 0.5, np.float32))
    np.testing.assert_allclose(half.over(np.zeros((2, 2, 3), np.float32)), 0.5)
    np.testing.assert_allclose(half.fade(0.5).alpha, 0.25)
    painted = half.paint(np.array([1.0, 0.0, 0.0], np.float32))
    np.testing.assert_allclose(painted.rgb[0, 0], [0.5, 0.0, 0.0])


@pytest.mark.parametrize("sigma", [2.0, 12.0])
def test_blurs_keep_the_mean_and_have_the_width_asked_for(sigma):
    line = np.zeros((128, 256, 1), np.float32)
    line[:, 128] = 1
    row = blur(line, sigma)[64, :, 0]
    assert row.sum() == pytest.approx(1, rel=0.02)
    spread = np.sqrt((row * (np.arange(256) - 128) ** 2).sum() / row.sum())
    assert spread == pytest.approx(sigma, rel=0.12)


def test_smears_run_along_their_direction_only():
    smeared = smear(spot(24, 16).alpha, 9, 0)[..., 0]
    assert (smeared[16, 21:28] > 0).all()
    assert not smeared[:15].any()


def test_masks_grow_and_shrink():
    mask = np.zeros((20, 20, 1), np.float32)
    mask[8:12, 8:12] = 1
    assert grow_mask(mask, 2).sum() > mask.sum() > grow_mask(mask, -1).sum() > 0


def test_noise_is_uniform_and_independent_of_the_resolution():
    small, large = smooth_noise(32, 48, 4), smooth_noise(64, 96, 4)
    assert small.mean() == pytest.approx(0.5, abs=0.01)
    assert small.std() == pytest.approx(np.sqrt(1 / 12), abs=0.01)
    halved = large.reshape(32, 2, 48, 2).mean(axis=(1, 3))
    assert np.abs(halved - small).mean() < 0.05


def test_cells_cover_the_frame_around_their_centres():
    numbers, border, centres = cells(40, 60, 4)
    assert set(np.unique(numbers)) <= set(range(len(centres)))
    for number, (x, y) in enumerate(centres):
        assert numbers[int(y), int(x)] == number
    assert border.min() >= 0


def test_fixed_numbers_are_fixed_and_patterns_differ():
    np.testing.assert_array_equal(draws(5, 2, 1), draws(5, 2, 1))
    assert (draws(5, 2, 1) != draws(5, 2, 2)).any()


def test_canvas_draws_antialiased_discs_of_the_right_area():
    canvas = Canvas(40, 40)
    canvas.disc(20, 20, 8, np.array([1.0, 0.5, 0.0]))
    canvas.disc(5, 5, 0, np.ones(3))
    layer = canvas.layer()
    assert layer.alpha.sum() == pytest.approx(
        np.pi * 8.3**2, rel=0.1
    )  # the soft rim adds to the radius
    np.testing.assert_allclose(layer.rgb[20, 20], [1, 0.5, 0], atol=0.01)
    assert ((layer.alpha > 0.1) & (layer.alpha < 0.9)).any()


def test_hues_go_around():
    np.testing.assert_allclose(hue_wheel(np.array(0.25)), hue_wheel(np.array(1.25)), atol=1e-5)
    assert hue_wheel(np.array(0.0)).argmax() == 0
