"""Optional dependencies: imported when first needed, with an error that names the extra."""

from __future__ import annotations

import importlib
from types import ModuleType

_DISTRIBUTION = "video-as-prompt"


class MissingExtraError(ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency.

    Args:
        module: Dotted module name, for example ``"cv2"``.
        extra: The extra of ``video-as-prompt`` that installs it, for example ``"train"``.
        purpose: What needs it, as the end of the sentence "... is needed to <purpose>".

    Returns:
        The imported module.

    Raises:
        MissingExtraError: If the module cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        message = (
            f"The module {module!r} is needed to {purpose} and is not installed ({error}). "
            f"Install it with: pip install '{_DISTRIBUTION}[{extra}]'"
        )
        raise MissingExtraError(message) from error
