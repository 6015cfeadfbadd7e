"""A pipeline as a folder: its native settings, and how it is loaded and saved."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

from vap.files.folders import GenerationDefaults
from vap.files.reading import one_at_a_time, reading
from vap.files.weights import disk_errors
from vap.models.detail import DetailTransfer
from vap.models.stored_form import StoredFormMixin
from vap.shapes import Compression, Family


class StoredPipelineMixin:
    """Mixed into a stock diffusers pipeline.

    Attributes:
        steps_share: Share of the model's own steps that are taken by default.
        student: Where the distilled LoRA came from that was merged into the backbone, if one was.
    """

    family: ClassVar[Family]
    transformer_class: ClassVar[type]
    steps_share: float = 1.0
    student: str | None = None

    @property
    def defaults(self) -> GenerationDefaults:
        """The native settings with the steps of the profile; a student needs no guidance."""
        defaults = self.native_defaults.with_steps(self.steps_share)
        return defaults if self.student is None else defaults.unguided()

    @property
    def native_defaults(self) -> GenerationDefaults:
        """The model's native settings."""
        stored = self.config.generation_defaults  # type: ignore[attr-defined]
        return GenerationDefaults(**{**self._released_defaults().as_config(), **(stored or {})})

    @property
    def compression(self) -> Compression:
        """How VAE and patches shrink a video."""
        patch = self.transformer.config.patch_size  # type: ignore[attr-defined]
        if isinstance(patch, int):
            patch = (1, patch, patch)
        return Compression(
            self.vae_scale_factor_temporal,  # type: ignore[attr-defined]
            self.vae_scale_factor_spatial,  # type: ignore[attr-defined]
            tuple(patch),
        )

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """Read ``model_index.json``, mapping class names that no diffusers release has.

        Such components are handed over loaded, so their entries only have to name a class that
        exists.
        """
        loaded = super().load_config(*args, **kwargs)  # type: ignore[misc]
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        for name in cls.own_classes() & config.keys():
            if config[name][0] is not None:
                config[name] = ["diffusers", "ModelMixin"]
        known = inspect.signature(cls.__init__).parameters
        for name in [key for key in config if not key.startswith("_") and key not in known]:
            # What the stock pipeline has beyond ours (a second transformer), left unset.
            value = config.pop(name)
            if value not in (None, False, [None, None]):
                raise ValueError(
                    f"model_index.json sets {name}={value!r}, which {cls.__name__} lacks."
                )
        config["_class_name"] = cls.__name__
        return loaded

    @classmethod
    def own_classes(cls) -> dict[str, type]:
        """Components whose classes are this package's."""
        return {"transformer": cls.transformer_class, "detail": DetailTransfer}

    @classmethod
    @one_at_a_time
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> Self:
        """Load a pipeline folder or Hub id, as diffusers does; see ``vap.load_pipeline``."""
        from vap.files.components import load_components
        from vap.files.names import resolve_folder

        folder = resolve_folder(pretrained_model_name_or_path, kwargs.get("variant"))
        kwargs |= load_components(folder, cls, kwargs)
        with reading(folder / "model_index.json"):
            pipeline = super().from_pretrained(folder, **kwargs)  # type: ignore[misc]
            pipeline._check_sizes()
        return pipeline

    def save_pretrained(self, save_directory: str | Path, *args: Any, **options: Any) -> Any:
        """Write all components as diffusers does; a text encoder that waits in its file is read."""
        transformer = getattr(self, "transformer", None)
        if isinstance(transformer, StoredFormMixin):
            transformer.check_stored_form()
        if self.student is not None:
            # It is merged: the folder itself has to say how many steps it takes, unguided.
            self.register_to_config(  # type: ignore[attr-defined]
                generation_defaults=self.defaults.as_config()
            )
            self.steps_share = 1.0
        with disk_errors(Path(save_directory)):
            return super().save_pretrained(save_directory, *args, **options)  # type: ignore[misc]

    def _check_sizes(self) -> None:
        """Refuse configurations of which no size follows."""
        sizes = (self.compression.temporal, self.compression.spatial, *self.compression.patch)
        if any(type(size) is not int or size < 1 for size in sizes):
            raise ValueError(f"VAE and transformer have invalid compression factors: {sizes}.")
        assert self.native_defaults

    @abstractmethod
    def _released_defaults(self) -> GenerationDefaults:
        """Native settings of the released model of this variant."""
