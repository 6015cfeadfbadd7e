"""The network that gives decoded frames the detail of their first image."""

import pytest
import torch

from vap.models.detail import DetailTransfer, warp

SIZE = (32, 48)


@pytest.fixture
def network() -> DetailTransfer:
    torch.manual_seed(0)
    return DetailTransfer(coarse_channels=16, fine_channels=8, match_channels=4).eval()


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@torch.no_grad()
def test_an_image_that_was_decoded_whole_changes_nothing_at_the_start(
    network: DetailTransfer,
) -> None:
    video = noise(1, 3, 3, *SIZE)
    torch.testing.assert_close(network(video, video[:, :, 0]), video)


@torch.no_grad()
def test_detail_comes_back_where_a_frame_is_the_decoded_image(network: DetailTransfer) -> None:
    image = noise(1, 3, *SIZE)
    decoded = torch.nn.functional.avg_pool2d(image, 5, 1, 2)
    video = decoded[:, :, None].expand(-1, -1, 3, -1, -1)
    error = (network(video, image) - image[:, :, None]).square().mean()
    assert error < 0.7 * (decoded - image).square().mean()


@torch.no_grad()
def test_videos_of_a_batch_do_not_see_each_other(network: DetailTransfer) -> None:
    torch.nn.init.normal_(network.leave.weight, std=0.1)
    video, image = noise(2, 3, 5, *SIZE), noise(2, 3, *SIZE, seed=1)
    both = network(video, image)
    torch.testing.assert_close(both[1:], network(video[1:], image[1:]))


@torch.no_grad()
def test_frames_do_not_see_each_other_but_all_see_the_first(network: DetailTransfer) -> None:
    torch.nn.init.normal_(network.leave.weight, std=0.1)
    video, image = noise(1, 3, 5, *SIZE), noise(1, 3, *SIZE, seed=1)
    whole = network(video, image)
    torch.testing.assert_close(network(video[:, :, [0, 3]], image), whole[:, :, [0, 3]])


def test_a_flow_of_one_pixel_moves_a_picture_by_one_pixel() -> None:
    picture = noise(1, 2, 8, 16)
    flow = torch.zeros(1, 2, 2, 4)
    flow[:, 0] = 2 / 16
    moved = warp(picture, flow)
    torch.testing.assert_close(moved[..., :-1], picture[..., 1:])
    torch.testing.assert_close(moved[..., -1], picture[..., -1])


@torch.no_grad()
def test_places_are_matched_with_the_same_places_of_the_first_frame(
    network: DetailTransfer,
) -> None:
    network.key.load_state_dict(network.query.state_dict())
    network.sharpness.fill_(1000.0)
    network.nearness.fill_(0.0)
    features = noise(2, 16, 8, 12)
    for flow in network._match(features.roll(2, dims=-1), features):
        assert flow.shape == (2, 2, 8, 12)
        torch.testing.assert_close(flow[:, 0, :, 2:], torch.full((2, 8, 10), -2 * 2 / 12))
        torch.testing.assert_close(flow[:, 1, :, 2:], torch.zeros(2, 8, 10), atol=1e-4, rtol=0)


def test_it_is_saved_and_loaded(network: DetailTransfer, tmp_path) -> None:
    network.save_pretrained(tmp_path)
    loaded = DetailTransfer.from_pretrained(tmp_path)
    video, image = noise(1, 3, 2, *SIZE), noise(1, 3, *SIZE, seed=1)
    with torch.no_grad():
        torch.testing.assert_close(loaded(video, image), network(video, image))


@torch.no_grad()
def test_what_is_coarse_stays_as_decoded(network: DetailTransfer) -> None:
    torch.nn.init.normal_(network.leave.weight, std=0.1)
    video, image = noise(1, 3, 3, *SIZE), noise(1, 3, *SIZE, seed=1)
    change = (network(video, image) - video)[0]
    coarse = torch.nn.functional.avg_pool2d(change, 16)
    assert change.std() > 0.05
    assert coarse.abs().max() < 0.2 * change.std()
