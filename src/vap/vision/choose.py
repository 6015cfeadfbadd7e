"""Every kind of model that can be asked."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from vap.vision.gemini import GeminiModel
from vap.vision.local import LocalModel
from vap.vision.openai import OpenAIModel

AnyModel = Annotated[GeminiModel | OpenAIModel | LocalModel, Field(discriminator="kind")]
"""A model by its ``kind``, for configurations."""
