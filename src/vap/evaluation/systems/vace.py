"""VACE: the reference video, its depth or its optical flow as the control video.

Jiang et al., "VACE: All-in-one video creation and editing" (arXiv 2503.07598), through diffusers'
``WanVACEPipeline``. It copies structure, not semantics: the baseline of structure control.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar, Literal

import diffusers
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from vap.acceleration.plan import Offload
from vap.evaluation.flow import draw_flow, flow_model
from vap.evaluation.systems.base import Job, Outcome, System
from vap.evaluation.systems.kept import keep
from vap.files.components import load_component
from vap.files.folders import read_json
from vap.files.names import find_folder
from vap.files.weights import weights_hash
from vap.loading.pipeline import default_device
from vap.media import read_clip, read_image, select_frames, write_video
from vap.media.pixels import resize

RGB = NDArray[np.uint8]
Control = Literal["video", "depth", "flow"]

_FAILURES = (OSError, RuntimeError, ValueError)


class Vace(System):
    """VACE with a control video made of the reference.

    Attributes:
        model: Folder or Hub id of a ``WanVACEPipeline``.
        control: What of the reference is the control video.
        image_as: Whether the image is a reference image, or the first frame of the control video.
        depth_model: Folder or Hub id of a depth model of transformers. The default is Apache 2.0.
        flow_weights: RAFT in safetensors; DIS flow without.
        height: Pixels.
        width: Pixels.
        num_frames: Frames, 4k + 1.
        fps: Frames a second of the result.
        steps: Denoising steps.
        guidance_scale: Classifier-free guidance.
        control_scale: Strength of the control video.
        negative_prompt: What to steer away from.
        dtype: Precision of transformer and text encoder.
        device: Where to run; by default an accelerator if there is one.
        offload: ``model``: one component at a time on the accelerator; ``sequential``: slowest.
    """

    kind: ClassVar[str] = "vace"
    reads_reference: ClassVar[bool] = True

    model: str = "Wan-AI/Wan2.1-VACE-14B-diffusers"
    control: Control = "video"
    image_as: Literal["reference", "first-frame"] = "reference"
    depth_model: str = "depth-anything/Depth-Anything-V2-Small-hf"
    flow_weights: Path | None = None
    height: int = Field(480, gt=0, multiple_of=16)
    width: int = Field(832, gt=0, multiple_of=16)
    num_frames: int = Field(49, gt=0)
    fps: float = Field(16, gt=0)
    steps: int = Field(50, gt=0)
    guidance_scale: float = 5.0
    control_scale: float = 1.0
    negative_prompt: str = ""
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    device: str | None = None
    offload: Offload | None = None

    def check(self) -> None:
        """Refuse lengths that the autoencoder does not have, and weights that are missing."""
        if self.num_frames % 4 != 1:
            raise ValueError(
                f"{self.name}: num_frames={self.num_frames} must be 4k + 1, such as 49 or 81."
            )
        if self.offload == "group":
            raise ValueError(f"{self.name}: offload must be model or sequential, not group.")
        if self.control == "flow" and self.flow_weights is None:
            flow_model()  # names the extra where OpenCV is missing

    def identity(self) -> Mapping[str, Any]:
        """Settings, the hash of the weights and the version of diffusers."""
        settings = self.model_dump(mode="json", exclude={"title", "device", "offload"})
        return {
            **settings,
            "weights": weights_hash(find_folder(self.model)),
            "diffusers": diffusers.__version__,
        }

    def run(self, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
        """Make one video after the other."""
        del folder
        key = self.model_dump_json()
        pipeline, control = keep(key, lambda: (self._load(), self._control()))
        for job in jobs:
            started = time.perf_counter()
            try:
                frames = self._generate(pipeline, control, job)
                write_video(frames, job.output, self.fps)
                error = None
            except _FAILURES as failure:
                error = f"{type(failure).__name__}: {failure}"
            yield Outcome(job, error, time.perf_counter() - started)

    def _load(self) -> Any:
        place = find_folder(self.model)
        index = read_json(place / "model_index.json")
        kind = index.get("_class_name")
        if kind != "WanVACEPipeline":
            raise ValueError(
                f"{self.name}: {self.model} is a {kind}, not a WanVACEPipeline. Give a VACE "
                "checkpoint in the layout of diffusers."
            )
        dtype, parts = getattr(torch, self.dtype), {}
        for name, origin in index.items():
            if isinstance(origin, list) and origin[0] is not None:
                # The autoencoder loses detail in half precision.
                options = {"dtype": torch.float32 if name == "vae" else dtype}
                takes_dtype = name in {"vae", "text_encoder", "transformer", "transformer_2"}
                parts[name] = load_component(place, name, **(options if takes_dtype else {}))
        pipeline: Any = diffusers.WanVACEPipeline(
            **parts, boundary_ratio=index.get("boundary_ratio")
        )
        pipeline.set_progress_bar_config(disable=True)
        device = self.device or default_device().type
        if self.offload == "model":
            pipeline.enable_model_cpu_offload(device=device)
        elif self.offload == "sequential":
            pipeline.enable_sequential_cpu_offload(device=device)
        else:
            pipeline.to(device)
        return pipeline

    def _control(self) -> Callable[[RGB], RGB]:
        """What makes the control video ``[T, H, W, 3]`` of the reference."""
        if self.control == "video":
            return lambda frames: frames
        device = self.device or default_device().type
        if self.control == "depth":
            return depth_video(self.depth_model, device)
        model = flow_model(self.flow_weights, device)

        def flow(frames: RGB) -> RGB:
            drawn = [draw_flow(model(*pair)) for pair in pairwise(frames)]
            # As many pictures as frames: the first flow is shown twice.
            return np.stack(drawn[:1] + drawn)

        return flow

    def _generate(self, pipeline: Any, control: Callable[[RGB], RGB], job: Job) -> RGB:
        size = (self.height, self.width)
        picture = resize(np.asarray(read_image(job.case.image)), size)
        video = np.full((self.num_frames, *size, 3), 127, np.uint8)  # gray: nothing is controlled
        if job.reference is not None:
            clip = read_clip(
                job.reference,
                size=size,
                frame_indices=lambda count: select_frames(count, self.num_frames),
            )
            video = control(clip.frames)
        mask = np.full(video.shape, 255, np.uint8)  # white: to be generated
        if self.image_as == "first-frame":
            video, mask = video.copy(), mask.copy()
            video[0], mask[0] = picture, 0
        output: Any = pipeline(
            prompt=job.case.prompt,
            negative_prompt=self.negative_prompt,
            video=[Image.fromarray(frame) for frame in video],
            mask=[Image.fromarray(frame) for frame in mask],
            reference_images=Image.fromarray(picture) if self.image_as == "reference" else None,
            conditioning_scale=self.control_scale,
            height=self.height,
            width=self.width,
            num_frames=self.num_frames,
            num_inference_steps=self.steps,
            guidance_scale=self.guidance_scale,
            generator=torch.Generator().manual_seed(job.seed),
            output_type="np",
        )
        return (np.clip(output.frames[0], 0, 1) * 255).round().astype(np.uint8)


def depth_video(model: str, device: str) -> Callable[[RGB], RGB]:
    """Return a function from frames to their depth as VACE reads it: near is white.

    Args:
        model: Folder or Hub id of a depth model of transformers, in safetensors.
        device: Where it runs.
    """
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    processor: Any = AutoImageProcessor.from_pretrained(model)
    network: Any = AutoModelForDepthEstimation.from_pretrained(model, use_safetensors=True)
    network = network.to(device).eval()

    @torch.no_grad()
    def depth(frames: RGB) -> RGB:
        drawn = []
        for frame in frames:
            inputs = processor(images=Image.fromarray(frame), return_tensors="pt").to(device)
            found = network(**inputs).predicted_depth[None]
            found = torch.nn.functional.interpolate(found, frame.shape[:2], mode="bicubic")[0, 0]
            near, far = found.max(), found.min()
            share = torch.nan_to_num((found - far) / (near - far))  # a flat depth is all far
            drawn.append((share * 255).round().byte().cpu().numpy())
        return np.repeat(np.stack(drawn)[..., None], 3, axis=-1)

    return depth
