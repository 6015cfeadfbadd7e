"""Loading small files again and again is no news."""

from __future__ import annotations


def silence_loading() -> None:
    """No progress bars or remarks of the libraries between the results."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    for log in (diffusers_logging, transformers_logging):
        log.disable_progress_bar()
        log.set_verbosity_error()
