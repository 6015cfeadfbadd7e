"""What both pipelines share: loading, defaults, argument checks and video prompts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from diffusers.utils.torch_utils import get_module_execution_device, randn_tensor
from PIL import Image

from vap.media.clip import FrameSelection
from vap.media.pixels import Fit
from vap.models.detail import DetailTransfer
from vap.pipelines.adapters import LoraMixin
from vap.pipelines.call import OUTPUT_TYPES, Call, PlacedOnce, VideoAsPromptPipelineOutput
from vap.pipelines.denoise import NOTHING, Reuse, StepEnd, check_finite
from vap.pipelines.denoiser import Guidance, GuidancePasses
from vap.pipelines.inputs import (
    ClipLike,
    Generators,
    ImageLike,
    ReferenceArguments,
    ReferenceClip,
    TextLimitMixin,
    as_clips,
    as_images,
    as_prompts,
    batch_of,
    check_given,
    check_texts,
    fitted,
)
from vap.pipelines.stored import StoredPipelineMixin
from vap.pipelines.video_prompt import VideoPrompt, encoder_configs, fingerprint, sampled_weights
from vap.shapes import TEXT_TOKENS, Family, PixelShape, check_steps, check_strength

if TYPE_CHECKING:
    from vap.pipelines.reference_report import ReferenceReport


class VideoAsPromptMixin(StoredPipelineMixin, TextLimitMixin, LoraMixin, PlacedOnce):
    """Mixed into a stock diffusers pipeline; a subclass encodes and decodes.

    Attributes:
        guidance_passes: How both passes of guidance are run; None for the stock pipeline's way.
        keep_constants: Keep what no step changes (1.5 to 2.5 GB at Wan 14B's native size);
            otherwise it is computed again at every step.
        reuse: What steps take over from earlier ones; nothing, by default.
        even_levels: Whether noise levels are evenly spaced before the shift (Wan, distilled).
    """

    detail: DetailTransfer | None = None
    guidance_passes: GuidancePasses | None = None
    keep_constants: bool = True
    reuse: Reuse = NOTHING
    even_levels: bool = False
    _known_vae: Any = None
    _vae_weights: bytes = b""

    @property
    def interrupt(self) -> bool:
        """Whether the running call should stop after its current step."""
        return self._interrupt

    @property
    def encoder_fingerprint(self) -> str:
        """Identifies the encoders behind a video prompt, see ``vap.pipelines.video_prompt``."""
        if self._known_vae is not self.vae:  # type: ignore[attr-defined]
            self._remember_encoders()
        return fingerprint(self.family, encoder_configs(self), self._vae_weights)

    def _remember_encoders(self) -> None:
        """Take a sample of the weights while they are here; sequential offload moves them away."""
        self._known_vae = self.vae  # type: ignore[attr-defined]
        self._vae_weights = sampled_weights(self._known_vae)

    @torch.no_grad()
    def encode_video_prompt(
        self,
        reference_videos: ClipLike | Sequence[ClipLike],
        reference_prompts: str | Sequence[str] | None = None,
        *,
        height: int | None = None,
        width: int | None = None,
        num_frames: int | None = None,
        frame_selection: FrameSelection = "evenly",
        fit: Fit = "cover",
        has_last_frame: bool = False,
        generator: Generators = None,
        **unknown: Any,
    ) -> VideoPrompt:
        """Encode references once, for any number of images and seeds.

        Args:
            reference_videos: Clips: paths, lists of PIL images or frame arrays, uint8 arrays
                ``[T, H, W, 3]`` or tensors; of any length and size.
            reference_prompts: Their captions, one each.
            height: Pixels of the videos to be generated; the model's own by default.
            width: The same.
            num_frames: The same.
            frame_selection: How frames are taken: ``evenly``, ``first`` or ``random``.
            fit: ``cover`` the size and crop the rest, or ``stretch`` to it, as the release did.
            has_last_frame: Whether it will be used together with ``last_image`` (Wan).
            generator: Draws the window of ``random``.
            **unknown: Refused; the error names the nearest argument.

        Raises:
            ValueError: If the size does not fit the model or captions do not fit the clips.
        """
        given = ReferenceArguments(
            reference_videos,
            reference_prompts,
            frame_selection=frame_selection,
            fit=fit,
            has_last_frame=has_last_frame,
        )
        with self._alone("encode_video_prompt", unknown):
            prompt = self._read(given, self._shape(height, width, num_frames), generator)
            self.maybe_free_model_hooks()  # type: ignore[attr-defined]
        assert prompt is not None
        return prompt

    @torch.no_grad()
    def decode(
        self,
        latents: torch.Tensor,
        output_type: str = "np",
        *,
        image: ImageLike | Sequence[ImageLike] | None = None,
        fit: Fit = "cover",
    ) -> Any:
        """Decode what a call with ``output_type="vae_latent"`` returned.

        Args:
            latents: ``[B, C, F, H, W]``, as the VAE has them.
            output_type: ``pil``, ``np`` or ``pt``.
            image: What the call was given, for models with a detail network; others ignore it.
            fit: The same.

        Returns:
            The frames that the call would have returned with this ``output_type``.
        """
        with self._alone("decode", {}):
            images = None
            if image is not None:
                scale = self.compression.spatial
                frames = 1 + (latents.shape[2] - 1) * self.compression.temporal
                shape = PixelShape(frames, *(scale * size for size in latents.shape[3:]))
                images = fitted(as_images(image), shape, fit)
            (video,) = self._finish(self._decoded(latents, output_type, images), return_dict=False)
        return video

    def reference_report(
        self,
        *,
        other_videos: ClipLike | Sequence[ClipLike] | None = None,
        other_prompts: str | Sequence[str] | None = None,
        **call: Any,
    ) -> ReferenceReport:
        """Measure how much a result depends on its reference, and give advice.

        Generates the video with its reference, without it and, if given, with another reference.

        Args:
            other_videos: A reference with another effect.
            other_prompts: Its captions.
            **call: Arguments of a call that makes one video, including its reference.

        Raises:
            ValueError: If the call has no reference, or makes several videos.
        """
        from vap.pipelines.reference_report import reference_report

        other = {"reference_videos": other_videos, "reference_prompts": other_prompts}
        return reference_report(self, call, None if other_videos is None else other)

    @contextmanager
    def _calling(self, arguments: Mapping[str, Any]) -> Iterator[Call]:
        """Run a call alone; its arguments are checked and encoded before the body runs."""
        with self._alone("__call__", arguments["unknown"]):
            yield self._begin(SimpleNamespace(**arguments))

    def _begin(self, given: Any) -> Call:
        """Check the arguments of ``__call__`` before anything slow, then encode them."""
        if given.output_type not in OUTPUT_TYPES:
            raise ValueError(
                f"output_type={given.output_type!r} is unknown. Use one of: {OUTPUT_TYPES}."
            )
        check_strength(given.strength)
        on_step_end = StepEnd.of(
            given.callback_on_step_end,
            given.callback_on_step_end_tensor_inputs,
            self._callback_tensor_inputs,  # type: ignore[attr-defined]
        )
        references = ReferenceArguments(
            given.reference_videos,
            given.reference_prompts,
            given.video_prompt,
            given.strength,
            given.frame_selection,
            given.fit,
            has_last_frame=getattr(given, "last_image", None) is not None,
        )
        scale, by_reference, steps = (
            getattr(self.defaults, name) if getattr(given, name) is None else getattr(given, name)
            for name in ("guidance_scale", "reference_guidance_scale", "num_inference_steps")
        )
        check_steps(steps, self.scheduler.config)  # type: ignore[attr-defined]
        shape = self._shape(given.height, given.width, given.num_frames)
        images = fitted(as_images(given.image), shape, given.fit)
        prompts = as_prompts(given.prompt)
        embeds, negative_embeds = given.prompt_embeds, given.negative_prompt_embeds
        check_given("prompt", prompts, embeds)
        check_given("negative_prompt", given.negative_prompt, negative_embeds, needed=False)
        count = len(embeds) if prompts is None else len(prompts)
        batch = batch_of(len(images), count, given.num_videos_per_prompt)
        batch.check_generators(given.generator)
        batch.check_rows("negative_prompt_embeds", negative_embeds)
        check_texts(
            TEXT_TOKENS[self.family],
            (given.max_sequence_length, embeds, negative_embeds),
            always=self._fixed_texts,
            compared=scale > 1.0 and references.read,
        )
        # A call that failed may have left something there.
        self.transformer._reset_stateful_cache()  # type: ignore[attr-defined]
        self._guidance_scale, self._attention_kwargs = scale, given.attention_kwargs
        self._current_timestep, self._interrupt = None, False

        video_prompt = self._read(references, shape, given.generator)
        text, negative_text = self.encode_prompt(  # type: ignore[attr-defined]
            prompts,
            as_prompts(given.negative_prompt, count),
            do_classifier_free_guidance=scale > 1.0,
            prompt_embeds=embeds,
            negative_prompt_embeds=negative_embeds,
            max_sequence_length=given.max_sequence_length,
            device=self._execution_device,
        )
        return Call(
            shape,
            images,
            batch,
            steps,
            Guidance(scale, getattr(given, "use_dynamic_cfg", False), steps, by_reference),
            video_prompt,
            0.0 if video_prompt is None else references.strength,
            text,
            negative_text,
            on_step_end,
        )

    def _read(
        self, given: ReferenceArguments, shape: PixelShape, generator: Generators
    ) -> VideoPrompt | None:
        """The references of a call as a video prompt, or None to run the backbone alone."""
        if not given.read:
            return None
        self.transformer.require_expert()  # type: ignore[attr-defined]
        if given.video_prompt is not None:
            known = None not in encoder_configs(self)
            given.video_prompt.check_fits(
                self.family,
                self.encoder_fingerprint if known else None,
                shape,
                has_last_frame=given.has_last_frame,
            )
            given.video_prompt.check_sizes(self._prompt_sizes(shape))
            return given.video_prompt
        assert given.videos is not None
        clips = as_clips(
            given.videos,
            given.prompts,
            num_frames=shape.frames,
            frame_selection=given.frame_selection,
            size=None if given.fit == "stretch" else (shape.height, shape.width),
            generator=generator,
        )
        return self._encode_references(clips, shape, has_last_frame=given.has_last_frame)

    def _shape(self, height: int | None, width: int | None, num_frames: int | None) -> PixelShape:
        """The size to generate, checked against the model."""
        defaults = self.defaults
        shape = PixelShape(
            defaults.num_frames if num_frames is None else num_frames,
            defaults.height if height is None else height,
            defaults.width if width is None else width,
        )
        self.compression.check(shape)
        return shape

    def _decoded(
        self,
        latents: torch.Tensor,
        output_type: str,
        images: list[Image.Image] | torch.Tensor | None = None,
    ) -> Any:
        """Videos of clean latents, as the VAE has them unless they are to stay latents."""
        if output_type in {"latent", "vae_latent"}:
            return latents
        vae: Any = self.vae  # type: ignore[attr-defined]
        latents = latents.to(get_module_execution_device(vae), vae.dtype)
        video = vae.decode(latents, return_dict=False)[0]
        check_finite(video, vae)
        # CogVideoX decodes an even number of latent frames in pairs, the first of which then gives
        # four pixel frames instead of one.
        frames = 1 + (latents.shape[2] - 1) * self.compression.temporal
        video = video[:, :, -frames:]
        if self.detail is not None and images is not None:
            video = self._detailed(video, images)
        return self.video_processor.postprocess_video(  # type: ignore[attr-defined]
            video, output_type=output_type
        )

    def _detailed(
        self, video: torch.Tensor, images: list[Image.Image] | torch.Tensor
    ) -> torch.Tensor:
        """Videos with the detail of their images, of which each may have several."""
        height, width = video.shape[-2:]
        pixels = self.video_processor.preprocess(images, height=height, width=width)  # type: ignore[attr-defined]
        pixels = pixels.repeat_interleave(len(video) // len(pixels), dim=0)
        assert self.detail is not None
        place = {"device": self.detail.device, "dtype": self.detail.dtype}
        return self.detail(video.to(**place), pixels.to(**place))

    def _finish(self, video: Any, *, return_dict: bool) -> VideoAsPromptPipelineOutput | tuple[Any]:
        """Offload what was in use, and wrap the result."""
        self.maybe_free_model_hooks()  # type: ignore[attr-defined]
        return VideoAsPromptPipelineOutput(frames=video) if return_dict else (video,)

    def _noise(
        self,
        size: tuple[int, ...],
        generator: Generators,
        latents: torch.Tensor | None,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        """Initial latents as given, or drawn."""
        if latents is None:
            latents = randn_tensor(
                size, generator=generator, device=self._execution_device, dtype=dtype
            )
        elif tuple(latents.shape) != size:
            raise ValueError(f"latents have shape {tuple(latents.shape)}; this call needs {size}.")
        return latents.to(self._execution_device, dtype)

    def _encode_references(
        self, clips: Sequence[ReferenceClip], shape: PixelShape, *, has_last_frame: bool
    ) -> VideoPrompt:
        """Encode clips whose frames have been taken."""
        text, _ = self.encode_prompt(  # type: ignore[attr-defined]
            [clip.source.caption for clip in clips],
            do_classifier_free_guidance=False,
            max_sequence_length=TEXT_TOKENS[self.family],
            device=self._execution_device,
        )
        tensors = self._encode_clips(clips, shape, has_last_frame=has_last_frame)
        return VideoPrompt(
            family=self.family,
            fingerprint=self.encoder_fingerprint,
            shape=shape,
            has_last_frame=has_last_frame,
            references=tuple(clip.source for clip in clips),
            tensors={**tensors, "text": text},
        )

    @property
    @abstractmethod
    def _fixed_texts(self) -> bool:
        """Whether the transformer only reads texts of the length that it was trained with."""

    @abstractmethod
    def _prompt_sizes(self, shape: PixelShape) -> dict[str, tuple[int, ...]]:
        """Sizes of the last axes of references' encodings, by name."""

    @abstractmethod
    def vae_latents(self, latents: torch.Tensor) -> torch.Tensor:
        """Turn the transformer's latents into the VAE's, ``[B, C, F, H, W]``."""

    @abstractmethod
    def _encode_clips(
        self, clips: Sequence[ReferenceClip], shape: PixelShape, *, has_last_frame: bool
    ) -> dict[str, torch.Tensor]:
        """Encodings of clips ``[R, …]``, by name, without their texts."""


def pipeline_class(family: Family) -> Any:
    """The pipeline class of a variant."""
    if family == "wan":
        from vap.pipelines.wan import WanVideoAsPromptPipeline

        return WanVideoAsPromptPipeline
    from vap.pipelines.cogvideox import CogVideoXVideoAsPromptPipeline

    return CogVideoXVideoAsPromptPipeline
