"""Stage ``vae``: a small ``AutoencoderKLWan`` trained on rendered clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanRMS_norm
from numpy.typing import NDArray
from torch import Tensor, nn

from vap.acceleration.whole_clips import use_whole_clips
from vap.mini.training.earlier import output_of
from vap.mini.training.mini_recipe import AutoencoderConfig, RenderConfig, VAEStage
from vap.synth import sample_clip
from vap.training.trainer import train

# Clips for the latent statistics come from indices that training does not reach.
_STATISTICS_START = 10_000_000
_FIRST_LOG_VARIANCE = -6.0
_MATRIX_AXES = 2
_LINEAR = 0.4
# Convolutions that the signal passes whatever the residual branches do.
_PATH = ("conv_in.weight", "conv_out.weight", "time_conv.weight", "resample.1.weight")
_PATH_BIASES = ("conv_in.bias", "time_conv.bias", "resample.1.bias")


def to_video(frames: NDArray[np.uint8]) -> Tensor:
    """Frames ``uint8 [T, H, W, 3]`` as a float video ``[3, T, H, W]`` in [-1, 1]."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 127.5 - 1.0


def render_clips(render: RenderConfig, seed: int, indices: range) -> Tensor:
    """Rendered clips ``[B, 3, T, H, W]`` in [-1, 1]; equal arguments give equal clips."""
    clips = [sample_clip(seed, index, **render.arguments) for index in indices]
    return torch.stack([to_video(clip.frames) for clip in clips])


def build_autoencoder(config: AutoencoderConfig) -> AutoencoderKLWan:
    """A fresh autoencoder: 2×2 patches, then two halvings of space and time."""
    vae = AutoencoderKLWan(
        base_dim=config.base_dim,
        decoder_base_dim=config.decoder_base_dim,
        z_dim=config.z_dim,
        dim_mult=list(config.dim_mult),
        num_res_blocks=config.num_res_blocks,
        temperal_downsample=[True, True],
        is_residual=True,
        in_channels=12,
        out_channels=12,
        patch_size=2,
        latents_mean=[0.0] * config.z_dim,
        latents_std=[1.0] * config.z_dim,
    )
    _initialize(vae)
    return vae


@torch.no_grad()
def _initialize(vae: AutoencoderKLWan) -> None:
    """Start close to a linear code of each place, with narrow posteriors.

    PyTorch's own initialization blurs and shrinks the signal at each layer, and unit posterior
    noise would bury the small latents of a fresh encoder: together they cost the first hundreds of
    steps.
    """
    for name, weight in vae.named_parameters():
        if name.endswith(_PATH):
            _start_local(_middle(name, weight))
        elif weight.ndim > _MATRIX_AXES and name.endswith("weight"):
            gain = 0.1 if ".conv2." in name or ".proj." in name else 1.0
            nn.init.normal_(weight, std=gain * weight[0].numel() ** -0.5)
        elif name.endswith(_PATH_BIASES):
            # Norms keep directions only: beside a constant, brightness is one, too.
            nn.init.normal_(weight)
        elif name.endswith("bias"):
            nn.init.zeros_(weight)
    for half in (vae.encoder, vae.decoder):
        # Close to zero, the nonlinearity before the last layer is a line.
        nn.init.constant_(half.norm_out.gamma, _LINEAR)
        half.conv_out.weight /= _LINEAR
    channels = vae.config.z_dim
    vae.encoder.conv_out.weight[channels:] *= 0.1
    vae.quant_conv.bias[channels:] = _FIRST_LOG_VARIANCE


def _middle(name: str, weight: Tensor) -> Tensor:
    """The taps of a zeroed convolution that read the very place, or all parts that it joins."""
    nn.init.zeros_(weight)
    joins = ".downsampler." in name
    if "time_conv" in name:
        return weight[:, :, 1:] if joins else weight[:, :, 2:]
    if "resample" in name:
        return weight[:, :, :2, :2] if joins else weight[:, :, 1:2, 1:2]
    return weight[:, :, 2:, 1:2, 1:2]


def _start_local(taps: Tensor) -> None:
    """A random orthogonal mixture of channels, of unit gain."""
    matrix = torch.empty(len(taps), taps[0].numel())
    nn.init.orthogonal_(matrix, gain=max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5)
    taps.copy_(matrix.view_as(taps))


def run(recipe: VAEStage) -> Path:
    """Train to the last step; see :func:`vap.training.trainer.train`."""
    return train(VAETask(recipe), recipe)


class VAETask:
    """Autoencoding of clips rendered as they are needed."""

    model: nn.Module  # the autoencoder, its forward pass wrapped for training

    def __init__(self, recipe: VAEStage) -> None:
        torch.manual_seed(recipe.loop.seed)
        self.recipe = recipe
        self.vae = (
            AutoencoderKLWan.from_pretrained(output_of("vae", recipe.start))
            if recipe.start
            else build_autoencoder(recipe.model)
        )
        if recipe.freeze_encoder:
            self.vae.encoder.requires_grad_(False)
            self.vae.quant_conv.requires_grad_(False)
        use_whole_clips(self.vae)
        for layer in self.vae.modules():
            if type(layer) is WanRMS_norm:
                layer.__class__ = _TrainedNorm
        self.model = _Reconstruction(self.vae)

    def batch(self, step: int) -> Tensor:
        """Clips ``[B, 3, T, H, W]`` of a step."""
        size = self.recipe.loop.batch_size
        indices = range(step * size, (step + 1) * size)
        return render_clips(self.recipe.render, self.recipe.loop.seed, indices)

    def loss(
        self, model: nn.Module, batch: Tensor, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Distances of a sampled posterior's decoding in pixels, edges and motion, and its KL."""
        recipe = self.recipe
        video = batch.to(generator.device)
        decoded, divergence = model(video, generator)
        error = decoded.float() - video
        l1 = error.abs().mean()
        # Neighbor differences are edges (height, width) and motion (time).
        edges = sum(error.diff(dim=axis).abs().mean() for axis in (2, 3, 4)) / 3
        # By pixel value, which keeps its weight independent of size.
        kl = divergence.float().sum() / video.numel()
        mse = error.square().mean()
        # Pixels span 2, so the peak power is 4.
        psnr = 10 * (4 / mse.detach().clamp_min(1e-10)).log10()
        loss = recipe.l1_weight * l1 + recipe.mse_weight * mse
        loss = loss + recipe.gradient_weight * edges + recipe.kl_weight * kl
        return {"loss": loss, "l1": l1, "edges": edges, "kl": kl, "psnr": psnr}

    def save(self, output: Path) -> None:
        """Measure the latents, unless they are those of before, and write ``output/vae``."""
        if not self.recipe.freeze_encoder:
            mean, std = self.statistics()
            self.vae.register_to_config(latents_mean=mean, latents_std=std)
        self.vae.save_pretrained(output / "vae")

    @torch.no_grad()
    def statistics(self) -> tuple[list[float], list[float]]:
        """Mean of each latent channel, and one scale for all of them.

        One scale keeps the channels' relative energies: whitening would spend the transformer on
        channels that carry little but noise.
        """
        render, seed = self.recipe.render, self.recipe.loop.seed
        indices = range(_STATISTICS_START, _STATISTICS_START + self.recipe.statistics_clips)
        self.vae.eval()
        latents = torch.cat(
            [
                self.vae.encode(
                    render_clips(render, seed, range(i, i + 1)).to(self.vae.device)
                ).latent_dist.mode()
                for i in indices
            ]
        )
        mean = latents.mean(dim=(0, 2, 3, 4))
        scale = latents.var(dim=(0, 2, 3, 4)).mean().sqrt()
        return mean.tolist(), [scale.item()] * len(mean)


class _TrainedNorm(WanRMS_norm):
    """The same norm without torch's vector norm, whose gradient across channels is slow."""

    def forward(self, x: Tensor) -> Tensor:
        """``[B, C, …]``, normalized over the channels."""
        power = x.float().square().mean(dim=1, keepdim=True)
        return x * power.clamp_min(1e-12).rsqrt().to(x.dtype) * self.gamma.to(x.dtype)


class _Reconstruction(nn.Module):
    """Encode, sample, decode: one forward, so that wrappers of modules see the whole step."""

    def __init__(self, vae: AutoencoderKLWan) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, video: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        posterior = self.vae.encode(video).latent_dist
        decoded = self.vae.decode(posterior.sample(generator)).sample
        return decoded, posterior.kl()
