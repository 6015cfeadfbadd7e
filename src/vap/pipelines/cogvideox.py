"""CogVideoX image-to-video, prompted by reference videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from diffusers import CogVideoXImageToVideoPipeline
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from vap.files.folders import GenerationDefaults
from vap.media.clip import FrameSelection
from vap.media.pixels import Fit
from vap.models.cogvideox import CogVideoXVideoAsPromptTransformer3DModel
from vap.pipelines.base import VideoAsPromptMixin
from vap.pipelines.call import VideoAsPromptPipelineOutput
from vap.pipelines.cogvideox_denoiser import (
    CogVideoXConditions,
    CogVideoXDenoiser,
    CogVideoXReference,
)
from vap.pipelines.denoise import SchedulerStep, StepCallback, check_finite, denoise
from vap.pipelines.inputs import (
    Batch,
    ClipLike,
    Generators,
    ImageLike,
    ReferenceClip,
)
from vap.pipelines.video_prompt import VideoPrompt
from vap.shapes import TEXT_TOKENS, LatentShape, PixelShape

_TEXT_TOKENS = TEXT_TOKENS["cogvideox"]
# The offset that 1.5 image-to-video checkpoints were trained with.
_OFS = 2.0


class CogVideoXVideoAsPromptPipeline(VideoAsPromptMixin, CogVideoXImageToVideoPipeline):
    """Animate an image with the semantics of reference videos (CogVideoX variant).

    Called without a reference and with ``fit="stretch"`` it is diffusers'
    ``CogVideoXImageToVideoPipeline``, bit for bit.

    Args:
        tokenizer: T5 tokenizer.
        text_encoder: T5 encoder.
        vae: CogVideoX VAE.
        transformer: Backbone and expert.
        scheduler: DDIM or DPM scheduler of CogVideoX.
        generation_defaults: The model's native settings, see ``GenerationDefaults``.
    """

    family: ClassVar = "cogvideox"
    transformer_class: ClassVar = CogVideoXVideoAsPromptTransformer3DModel

    def __init__(
        self,
        tokenizer: Any,
        text_encoder: Any,
        vae: Any,
        transformer: CogVideoXVideoAsPromptTransformer3DModel,
        scheduler: Any,
        generation_defaults: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(tokenizer, text_encoder, vae, transformer, scheduler)
        self.register_to_config(generation_defaults=generation_defaults)
        self._interrupt = False
        self._remember_encoders()

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
        use_dynamic_cfg: bool = False,
        frame_selection: FrameSelection = "evenly",
        fit: Fit = "cover",
        num_videos_per_prompt: int = 1,
        eta: float = 0.0,
        generator: Generators = None,
        latents: torch.Tensor | None = None,
        prompt_embeds: torch.Tensor | None = None,
        negative_prompt_embeds: torch.Tensor | None = None,
        output_type: str = "pil",
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
            strength: 0 … 1: how much the target reads the reference; 0 is the backbone.
            height: Pixels; the model's own by default.
            width: The same.
            num_frames: 1 + 4k; the model's own by default. The stock pipeline returns three more
                frames for counts other than 1 + 8k; this one returns exactly ``num_frames``.
            num_inference_steps: Denoising steps; the model's own by default.
            guidance_scale: Classifier-free guidance; 1 or less turns it off. The model's own by
                default.
            reference_guidance_scale: Factor on the difference that the references make in the
                prediction; 1 or less turns it off. The model's own by default.
            use_dynamic_cfg: Let ``guidance_scale`` rise over the steps.
            frame_selection: How to choose the frames of a reference.
            fit: ``cover`` scales and crops images and references to the size; ``stretch``
                distorts them, as in the released code.
            num_videos_per_prompt: Videos of each sample.
            eta: DDIM's η.
            generator: One for all, or one for each video. It also samples the VAE's posteriors:
                image first, then the initial noise, the references, their first frames.
            latents: Initial noise ``[B, F, C, H, W]``.
            prompt_embeds: Replaces ``prompt``, ``[B, 226, D]``.
            negative_prompt_embeds: In place of ``negative_prompt``.
            output_type: ``pil``, ``np``, ``pt``, ``latent``, or ``vae_latent`` for ``decode``.
            return_dict: Whether to return an output object or a tuple.
            attention_kwargs: ``scale`` is the LoRA scale.
            callback_on_step_end: Called after every step as in diffusers.
            callback_on_step_end_tensor_inputs: Tensors that it gets.
            max_sequence_length: Text tokens.
            **unknown: Refused; the error names the nearest argument.

        Raises:
            ValueError: If arguments contradict each other or do not fit the model, or the result
                has non-finite values.
            TypeError: If an argument is unknown.
        """
        with self._calling(locals()) as call:
            shape, batch, references = call.shape, call.batch, call.references
            text, dtype = call.text, call.text.dtype
            self.scheduler.set_timesteps(call.steps, device=self._execution_device)
            self._num_timesteps = len(self.scheduler.timesteps)

            # The order of these three decides what each draws from the generator.
            condition = self._image_latents(
                call.images, batch, shape, generator, dtype, released=references is not None
            )
            latent = self._latent_shape(shape)
            size = (batch.size, latent.frames, latent.channels, latent.height, latent.width)
            latents = self._noise(size, generator, latents, dtype) * self.scheduler.init_noise_sigma
            reference_latents = (
                None
                if references is None
                else self._sample_references(references, batch, generator)
            )

            rotary, reference_rotary = self.transformer.rotary_tables(
                (latent.frames, latent.height, latent.width),
                0 if references is None else len(references),
                self._execution_device,
            )
            ofs = (
                None
                if self.transformer.config.ofs_embed_dim is None
                else latents.new_full((1,), _OFS)
            )
            reference = None
            if references is not None and reference_latents is not None:
                text_of_references = references.tensors["text"].to(latents)
                reference = CogVideoXReference.of(
                    reference_latents.to(latents), text_of_references, reference_rotary
                )
            denoiser = CogVideoXDenoiser(
                self.transformer,
                CogVideoXConditions(
                    batch.spread(text),
                    None if call.negative_text is None else batch.spread(call.negative_text),
                    condition,
                    rotary,
                    ofs,
                    self.scheduler.scale_model_input,
                ),
                reference,
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
                SchedulerStep(self.scheduler, generator, eta),
                num_inference_steps=call.steps,
                latents_dtype=dtype,
                on_step_end=call.on_step_end,
            )
            check_finite(latents, self.transformer)
            if output_type != "latent":
                latents = self.vae_latents(latents[:, self._extra_frames(shape) :])
            return self._finish(self._decoded(latents, output_type), return_dict=return_dict)

    def _released_defaults(self) -> GenerationDefaults:
        """The size that the backbone was trained at, with the release's guidance."""
        config = self.transformer.config
        return GenerationDefaults(
            height=config.sample_height * self.vae_scale_factor_spatial,
            width=config.sample_width * self.vae_scale_factor_spatial,
            num_frames=config.sample_frames,
            guidance_scale=6.0,
            use_dynamic_cfg=True,
        )

    @property
    def _fixed_texts(self) -> bool:
        """Whether all texts are as long as those that positions were made for."""
        config = self.transformer.config
        return (
            config.use_learned_positional_embeddings or not config.use_rotary_positional_embeddings
        )

    def _shape(self, height: int | None, width: int | None, num_frames: int | None) -> PixelShape:
        """The size to generate; a backbone with learned positions has only its own."""
        shape = super()._shape(height, width, num_frames)
        native = self._released_defaults()
        fixed = self.transformer.config.use_learned_positional_embeddings
        if fixed and (shape.height, shape.width) != (native.height, native.width):
            raise ValueError(
                f"height={shape.height}, width={shape.width}: this backbone has learned positions "
                f"and works at {native.height}×{native.width} only."
            )
        return shape

    def _latent_shape(self, shape: PixelShape) -> LatentShape:
        """Latent size; 1.5 checkpoints round the frames up to whole patches."""
        latent = self.compression.latent(shape, self.transformer.config.in_channels // 2)
        patch = self.transformer.config.patch_size_t or 1
        return replace(latent, frames=-(-latent.frames // patch) * patch)

    def _extra_frames(self, shape: PixelShape) -> int:
        """Latent frames before the video that only fill up the first patch."""
        return self._latent_shape(shape).frames - self.compression.latent(shape, 1).frames

    def _image_latents(
        self,
        images: Any,
        batch: Batch,
        shape: PixelShape,
        generator: Generators,
        dtype: torch.dtype,
        *,
        released: bool,
    ) -> torch.Tensor:
        """Sampled latents of the images, zeros after them: ``[B, F, C, H, W]``."""
        pixels = self.video_processor.preprocess(images, height=shape.height, width=shape.width)
        pixels = pixels.to(self._execution_device, dtype).unsqueeze(2)
        moments = [self._moments(picture[None]) for picture in pixels]
        latents = torch.cat(
            [
                DiagonalGaussianDistribution(moments[sample % len(moments)]).sample(drawer)
                for sample, drawer in batch.draws(generator, len(moments))
            ]
        )
        if not isinstance(generator, list):
            latents = batch.spread(latents)
        return self._pad(self._scaled_image(latents.to(dtype), released=released), shape)

    def _scaled_image(self, latents: torch.Tensor, *, released: bool) -> torch.Tensor:
        """Scale image latents and put frames before channels.

        Where the VAE says ``invert_scale_latents`` the stock pipeline divides, and the released
        one leaves them as they are.
        """
        latents = latents.permute(0, 2, 1, 3, 4)
        if not self.vae.config.invert_scale_latents:
            return self.vae_scaling_factor_image * latents
        return latents if released else 1 / self.vae_scaling_factor_image * latents

    def _pad(self, first: torch.Tensor, shape: PixelShape) -> torch.Tensor:
        """Zeros after the first frame."""
        frames = self._latent_shape(shape).frames
        zeros = first.new_zeros(len(first), frames - 1, *first.shape[2:])
        return torch.cat([first, zeros], dim=1)

    def _prompt_sizes(self, shape: PixelShape) -> dict[str, tuple[int, ...]]:
        """Sizes of the last axes of references' encodings, by name."""
        config, latent = self.transformer.config, self.compression.latent(shape, channels=1)
        moments, size = 2 * config.out_channels, (latent.height, latent.width)
        return {
            "video_moments": (moments, latent.frames, *size),
            "frame_moments": (moments, 1, *size),
            "text": (config.text_embed_dim,),
        }

    def _encode_clips(
        self,
        clips: Sequence[ReferenceClip],
        shape: PixelShape,
        *,
        has_last_frame: bool,  # noqa: ARG002 - no last frame joins CogVideoX's conditions
    ) -> dict[str, torch.Tensor]:
        """Posterior moments of every reference."""
        processor, size = self.video_processor, {"height": shape.height, "width": shape.width}
        videos = [processor.preprocess_video(clip.frames, **size) for clip in clips]
        frames = [processor.preprocess(clip.frames[0], **size).unsqueeze(2) for clip in clips]
        return {
            "video_moments": torch.cat([self._moments(video) for video in videos]),
            "frame_moments": torch.cat([self._moments(frame) for frame in frames]),
        }

    def _moments(self, pixels: torch.Tensor) -> torch.Tensor:
        """Posterior mean and log-variance of a clip ``[1, 3, T, H, W]``: ``[1, 2C, F, H, W]``."""
        pixels = pixels.to(self._execution_device, self.vae.dtype)
        return self.vae.encode(pixels).latent_dist.parameters

    def _sample_references(
        self, prompt: VideoPrompt, batch: Batch, generator: Generators
    ) -> torch.Tensor:
        """Draw latents of the references: ``[B, R, F, 2C, H, W]``, first all videos."""
        drawn = []
        for _, drawer in batch.draws(generator, samples=1):
            videos = self._sample(prompt.tensors["video_moments"], drawer)
            videos = self.vae_scaling_factor_image * videos.permute(0, 2, 1, 3, 4)
            extra = self._extra_frames(prompt.shape)
            videos = torch.cat([videos[:, :1].expand(-1, extra, -1, -1, -1), videos], dim=1)
            frames = self._sample(prompt.tensors["frame_moments"], drawer)
            frames = self._pad(self._scaled_image(frames, released=True), prompt.shape)
            drawn.append(torch.cat([videos, frames], dim=2))
        references = torch.stack(drawn)
        return references.expand(batch.size, *references.shape[1:])

    def _sample(self, moments: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """Sample posteriors one after the other."""
        moments = moments.to(self._execution_device, self.vae.dtype)
        samples = [DiagonalGaussianDistribution(row[None]).sample(generator) for row in moments]
        return torch.cat(samples)

    def vae_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Turn the transformer's latents into the VAE's, ``[B, C, F, H, W]``."""
        latents = latents.to(self.vae.dtype).transpose(1, 2)
        return 1 / self.vae_scaling_factor_image * latents
