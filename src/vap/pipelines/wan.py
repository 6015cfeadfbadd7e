"""Wan2.1 image-to-video, prompted by reference videos."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from diffusers import AutoencoderKLWan, DiffusionPipeline, WanImageToVideoPipeline
from diffusers.utils.torch_utils import get_module_execution_device
from diffusers.video_processor import VideoProcessor
from PIL import Image

from vap.files.folders import GenerationDefaults
from vap.media.clip import FrameSelection
from vap.media.pixels import Fit
from vap.models.detail import DetailTransfer
from vap.models.wan import WanVideoAsPromptTransformer3DModel
from vap.pipelines.base import VideoAsPromptMixin
from vap.pipelines.call import VideoAsPromptPipelineOutput
from vap.pipelines.denoise import (
    SchedulerStep,
    StepCallback,
    check_finite,
    denoise,
    set_flow_timesteps,
)
from vap.pipelines.inputs import (
    Batch,
    ClipLike,
    Generators,
    ImageLike,
    ReferenceClip,
    as_images,
    as_pictures,
    fitted,
)
from vap.pipelines.repetition import answered_once
from vap.pipelines.video_prompt import VideoPrompt
from vap.pipelines.wan_denoiser import WanConditions, WanDenoiser, WanReference
from vap.shapes import TEXT_TOKENS, PixelShape

_TEXT_TOKENS = TEXT_TOKENS["wan"]
_CLIP_PIXELS = 224


class WanVideoAsPromptPipeline(VideoAsPromptMixin, WanImageToVideoPipeline):
    """Animate an image with the semantics of reference videos (Wan variant).

    Called without a reference and with ``fit="stretch"`` it is diffusers'
    ``WanImageToVideoPipeline``, bit for bit.

    Args:
        tokenizer: T5 tokenizer.
        text_encoder: UMT5 encoder.
        vae: Wan VAE.
        scheduler: Any flow-matching scheduler.
        transformer: Backbone and expert.
        image_processor: Of the image encoder.
        image_encoder: CLIP vision model; None for backbones without image tokens.
        detail: Gives decoded frames the detail of the image, for small autoencoders; None for none.
        generation_defaults: The model's native settings, see ``GenerationDefaults``.
        even_levels: Whether noise levels are evenly spaced before the shift (distilled models).
    """

    family: ClassVar = "wan"
    transformer_class: ClassVar = WanVideoAsPromptTransformer3DModel
    model_cpu_offload_seq = "text_encoder->image_encoder->transformer->vae"
    _optional_components: ClassVar = ["image_encoder", "image_processor", "detail"]

    def __init__(
        self,
        tokenizer: Any,
        text_encoder: Any,
        vae: AutoencoderKLWan,
        scheduler: Any,
        transformer: WanVideoAsPromptTransformer3DModel,
        image_processor: Any = None,
        image_encoder: Any = None,
        detail: DetailTransfer | None = None,
        generation_defaults: dict[str, Any] | None = None,
        even_levels: bool = False,
    ) -> None:
        # Not the parent's constructor: it would register a second transformer (Wan2.2).
        DiffusionPipeline.__init__(self)
        self.register_modules(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            vae=vae,
            scheduler=scheduler,
            transformer=transformer,
            image_processor=image_processor,
            image_encoder=image_encoder,
            detail=detail,
        )
        self.register_to_config(generation_defaults=generation_defaults)
        self.even_levels = even_levels
        self.vae_scale_factor_temporal = vae.config.scale_factor_temporal
        self.vae_scale_factor_spatial = vae.config.scale_factor_spatial
        self.video_processor = VideoProcessor(vae_scale_factor=self.vae_scale_factor_spatial)
        self._interrupt = False
        self._remember_encoders()

    @property
    def components(self) -> dict[str, Any]:
        """All components; where none gives detail, they are those of the stock pipeline."""
        parts: dict[str, Any] = super().components
        return {name: part for name, part in parts.items() if (name, part) != ("detail", None)}

    @torch.no_grad()
    def __call__(
        self,
        image: ImageLike | Sequence[ImageLike],
        prompt: str | Sequence[str] | None = None,
        negative_prompt: str | Sequence[str] | None = None,
        *,
        reference_videos: ClipLike | Sequence[ClipLike] | None = None,
        reference_prompts: str | Sequence[str] | None = None,
        video_prompt: VideoPrompt | None = None,
        strength: float = 1.0,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        reference_guidance_scale: float | None = None,
        frame_selection: FrameSelection = "evenly",
        fit: Fit = "cover",
        last_image: ImageLike | Sequence[ImageLike] | None = None,
        num_videos_per_prompt: int = 1,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        image_embeds: torch.Tensor | None = None,
        output_type: str = "np",
        return_dict: bool = True,
        attention_kwargs: dict[str, Any] | None = None,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
        max_sequence_length: int = _TEXT_TOKENS,
        **unknown: Any,
    ) -> VideoAsPromptPipelineOutput | tuple[Any]:
        """Generate.

        Args:
            image: First frame: a path, PIL image, array or tensor; a list for a batch.
            prompt: Caption of the video to be generated; a list for a batch.
            negative_prompt: Text describing what to avoid; replaces target and reference text.
            reference_videos: One clip or several, of any length and size: paths, lists of images
                or frame arrays, arrays ``[T, H, W, 3]`` or tensors.
            reference_prompts: Their captions.
            video_prompt: References encoded before, in place of ``reference_videos``.
            strength: 0 … 1: how closely to follow the reference; 0 is the backbone.
            height: Pixels, a multiple of 16; the model's own by default.
            width: The same.
            num_frames: 1 + 4k; the model's own by default.
            num_inference_steps: Denoising steps; the model's own by default.
            guidance_scale: Classifier-free guidance; 1 or less turns it off. The model's own by
                default.
            reference_guidance_scale: Factor on the difference that the references make in the
                prediction; 1 or less turns it off. The model's own by default.
            frame_selection: How to choose the frames of a reference.
            fit: ``cover`` scales and crops images and references to the size; ``stretch``
                distorts them, as in the released code.
            last_image: Last frame; the references are then conditioned on their last frames too.
            num_videos_per_prompt: Videos of each sample.
            generator: One for all, or one for each video.
            latents: Initial noise ``[B, C, F, H, W]``.
            prompt_embeds: Replaces ``prompt``, ``[B, 512, D]``.
            negative_prompt_embeds: Replaces ``negative_prompt``.
            image_embeds: Replaces the encoding of the image, ``[B, I, D]``.
            output_type: ``pil``, ``np``, ``pt``, ``latent``, or ``vae_latent`` for ``decode``.
            return_dict: Whether to return an output object or a tuple.
            attention_kwargs: ``scale`` is the LoRA scale.
            callback_on_step_end: Called after every step as in diffusers.
            callback_on_step_end_tensor_inputs: Tensors that it gets.
            max_sequence_length: Text tokens; Wan's cross-attention needs 512.
            **unknown: Refused; the error names the nearest argument.

        Raises:
            ValueError: If arguments contradict each other or do not fit the model, or the result
                has non-finite values.
            TypeError: If an argument is unknown.
        """
        with self._calling(locals()) as call:
            shape, batch, references = call.shape, call.batch, call.references
            images = call.images
            last_images = self._last_images(last_image, len(images), shape, fit)
            batch.check_rows("image_embeds", image_embeds)
            if image_embeds is None and self.transformer.config.image_dim is not None:
                image_embeds = self._encode_images(images, last_images)
            set_flow_timesteps(
                self.scheduler,
                call.steps,
                call.strength,
                self._execution_device,
                even=self.even_levels,
            )
            self._num_timesteps = len(self.scheduler.timesteps)
            latent = self.compression.latent(shape, self.vae.config.z_dim)
            size = (batch.size, latent.channels, latent.frames, latent.height, latent.width)
            latents = self._noise(size, generator, latents, torch.float32)
            condition = self._encode_condition(
                self._pixels(images, shape), self._pixels(last_images, shape), shape
            )

            dtype = self.transformer.dtype
            denoiser = WanDenoiser(
                self.transformer,
                WanConditions(
                    text=batch.spread(call.text).to(dtype),
                    negative_text=None
                    if call.negative_text is None
                    else batch.spread(call.negative_text).to(dtype),
                    image=None if image_embeds is None else batch.spread(image_embeds).to(dtype),
                    latents=batch.spread(condition),
                ),
                None if references is None else self._place_reference(references, batch),
                call.guidance,
                call.strength,
                attention_kwargs,
                self.guidance_passes,
                keep=self.keep_constants,
            )
            latents = denoise(
                self,
                denoiser,
                latents,
                SchedulerStep(self.scheduler, generator),
                num_inference_steps=call.steps,
                latents_dtype=torch.float32,
                on_step_end=call.on_step_end,
            )
            check_finite(latents, self.transformer)
            if output_type != "latent":
                latents = self.vae_latents(latents)
            video = self._decoded(latents, output_type, images)
            return self._finish(video, return_dict=return_dict)

    def _released_defaults(self) -> GenerationDefaults:
        """480×832 as released; smaller for a model whose image encoder sees smaller pictures.

        A checkpoint in the released layout does not say at what size it works. All real ones
        have the 224-pixel CLIP; toy ones scale it, and their frames, down.
        """
        encoder = self.image_encoder
        scale = 1.0 if encoder is None else min(1.0, encoder.config.image_size / _CLIP_PIXELS)
        rows, columns = (
            self.vae_scale_factor_spatial * p for p in self.transformer.config.patch_size[1:]
        )
        return GenerationDefaults(
            height=round(480 * scale / rows) * rows, width=round(832 * scale / columns) * columns
        )

    @property
    def _fixed_texts(self) -> bool:
        """Whether the last 512 tokens of a context are the text, after those of images."""
        return self.transformer.config.image_dim is not None

    def _pixels(
        self, images: list[Image.Image] | torch.Tensor | None, shape: PixelShape
    ) -> torch.Tensor | None:
        """Images as float32 ``[S, 3, H, W]`` in −1 … 1, or None for None."""
        if images is None:
            return None
        pixels = self.video_processor.preprocess(images, height=shape.height, width=shape.width)
        return pixels.to(self._execution_device, dtype=torch.float32)

    def _last_images(
        self,
        last_image: ImageLike | Sequence[ImageLike] | None,
        images: int,
        shape: PixelShape,
        fit: Fit,
    ) -> list[Image.Image] | torch.Tensor | None:
        """Last frames, one for each image."""
        if last_image is None:
            if self.transformer.config.pos_embed_seq_len is not None:
                raise ValueError(
                    "This backbone needs a last_image: it was trained on first and last frames."
                )
            return None
        last_images = fitted(as_images(last_image, "last_image"), shape, fit)
        if len(last_images) != images:
            raise ValueError(
                f"Images: {images}, last images: {len(last_images)}. Give one last image for each."
            )
        return last_images

    def _encode_images(
        self,
        images: list[Image.Image] | torch.Tensor,
        last_images: list[Image.Image] | torch.Tensor | None,
    ) -> torch.Tensor:
        """Image tokens ``[S, I, D]``; those of a first image, then those of its last."""
        pictures = as_pictures(images)
        if last_images is not None:
            pairs = zip(pictures, as_pictures(last_images), strict=True)
            pictures = [picture for pair in pairs for picture in pair]
        tokens = self.encode_image(pictures, self._execution_device)
        return tokens.reshape(len(images), -1, tokens.shape[-1])

    def _encode_condition(
        self, first: torch.Tensor | None, last: torch.Tensor | None, shape: PixelShape
    ) -> torch.Tensor:
        """Mask and latents of a clip of known frames, zeros elsewhere: ``[S, 4+C, F, H, W]``."""
        assert first is not None
        clip = first.new_zeros(*first.shape[:2], *(shape.frames, shape.height, shape.width))
        clip[:, :, 0] = first
        known = torch.zeros(shape.frames)
        known[0] = 1
        if last is not None:
            clip[:, :, -1] = last
            known[-1] = 1
        with answered_once(self.vae.encoder) if self.keep_constants else nullcontext():
            latents = self._encode_latents(clip)
        # The mask has a slot for each pixel frame of a latent frame; the first latent frame
        # has one pixel frame, whose slot is repeated.
        slots = torch.cat([known[:1].expand(self.vae_scale_factor_temporal - 1), known])
        mask = slots.view(1, -1, self.vae_scale_factor_temporal, 1, 1).transpose(1, 2)
        mask = mask.to(latents).expand(len(latents), -1, -1, *latents.shape[3:])
        return torch.cat([mask, latents], dim=1)

    def _encode_latents(self, clips: torch.Tensor) -> torch.Tensor:
        """Normalized posterior modes of pixel clips ``[S, 3, T, H, W]``: ``[S, C, F, H, W]``."""
        device = get_module_execution_device(self.vae)
        clips = clips.to(device, self.vae.dtype)
        modes = [self.vae.encode(clip[None]).latent_dist.mode() for clip in clips]
        latents = torch.cat(modes).to(self._execution_device, torch.float32)
        mean, reciprocal_std = self._latent_statistics(latents)
        return (latents - mean) * reciprocal_std

    def _latent_statistics(self, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and reciprocal standard deviation by channel, ``[1, C, 1, 1, 1]``."""
        config = self.vae.config
        mean, std = (
            torch.tensor(values).view(1, config.z_dim, 1, 1, 1).to(like.device, like.dtype)
            for values in (config.latents_mean, config.latents_std)
        )
        return mean, 1.0 / std

    def vae_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Turn the transformer's latents into the VAE's, ``[B, C, F, H, W]``."""
        latents = latents.to(get_module_execution_device(self.vae), self.vae.dtype)
        mean, reciprocal_std = self._latent_statistics(latents)
        return latents / reciprocal_std + mean

    def _prompt_sizes(self, shape: PixelShape) -> dict[str, tuple[int, ...]]:
        """Sizes of the last axes of references' encodings, by name."""
        config, latent = self.transformer.config, self.compression.latent(shape, channels=1)
        grid = (latent.frames, latent.height, latent.width)
        return {
            "latents": (config.out_channels, *grid),
            "condition": (config.in_channels - config.out_channels, *grid),
            "text": (config.text_dim,),
            "image": (config.image_dim,),
        }

    def _encode_clips(
        self, clips: Sequence[ReferenceClip], shape: PixelShape, *, has_last_frame: bool
    ) -> dict[str, torch.Tensor]:
        """Latents, condition and image tokens of every reference."""
        tensors: dict[str, list[torch.Tensor]] = {"latents": [], "condition": [], "image": []}
        for clip in clips:
            first, last = clip.frames[:1], clip.frames[-1:] if has_last_frame else None
            pixels = self.video_processor.preprocess_video(
                clip.frames, height=shape.height, width=shape.width
            )
            tensors["latents"].append(self._encode_latents(pixels.to(torch.float32)))
            tensors["condition"].append(
                self._encode_condition(self._pixels(first, shape), self._pixels(last, shape), shape)
            )
            if self.transformer.config.image_dim is not None:
                tensors["image"].append(self._encode_images(first, last))
        return {name: torch.cat(parts) for name, parts in tensors.items() if parts}

    def _place_reference(self, prompt: VideoPrompt, batch: Batch) -> WanReference:
        """Give every video of the batch the same references."""
        return WanReference.of(prompt, batch.size, self._execution_device, self.transformer.dtype)
