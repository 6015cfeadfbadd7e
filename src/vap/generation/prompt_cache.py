"""Video prompts shared by many requests, encoded once by each worker."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vap.generation.record import input_digest
from vap.generation.request import GenerationRequest
from vap.generation.run import encode_references, model_key
from vap.pipelines.video_prompt import VideoPrompt

_KEPT = 16  # of a 14B model's at 480p, 49 frames: 13 MB each


@dataclass
class PromptCache:
    """Keeps the last prompts by what they were made of; reused, they give the same bits."""

    kept: int = _KEPT
    encoded: int = 0  # how many have been encoded so far
    _prompts: OrderedDict[tuple[Any, ...], VideoPrompt] = field(default_factory=OrderedDict)
    _digests: dict[tuple[Any, ...], str] = field(default_factory=dict)

    def encode(self, request: GenerationRequest, pipeline: Any) -> VideoPrompt:
        """The prompt of a complete request's references, see :func:`encode_references`."""
        key = (
            pipeline.encoder_fingerprint,
            # How it is loaded decides precisions and kernels of the encoders: device, profile …
            model_key(request),
            tuple(self._digest(path) for path in request.references),
            request.reference_prompts,
            (request.num_frames, request.height, request.width),
            request.frame_selection,
            request.fit,
            request.last_image is not None,
            # Which frames are taken depends on the seed if they are drawn.
            request.seed if request.frame_selection == "random" else None,
        )
        prompt = self._prompts.get(key)
        if prompt is None:
            prompt = encode_references(request, pipeline)
            self.encoded += 1
            self._prompts[key] = prompt
        self._prompts.move_to_end(key)
        while len(self._prompts) > self.kept:
            self._prompts.popitem(last=False)
        # The same contents may have come from a file of another name.
        named = zip(prompt.references, request.references, strict=True)
        return replace(
            prompt, references=tuple(replace(source, name=path.name) for source, path in named)
        )

    def _digest(self, path: Path) -> str:
        """Hash of a clip's contents, looked up as long as the file does not change."""
        if path.is_dir():
            return input_digest(path)
        state = os.stat(path)  # noqa: PTH116 - one call for all three
        known = (path, state.st_size, state.st_mtime_ns)
        if known not in self._digests:
            self._digests[known] = input_digest(path)
        return self._digests[known]
