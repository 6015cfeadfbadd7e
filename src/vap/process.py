"""This process: which of several it is, how it ends, and libraries that stay quiet in it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

# These two speak while diffusers looks for optional kernels.
_AT_IMPORT = ("torch.utils._pytree", "torchao")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Show errors of the libraries only, and no bars but those of downloads from the Hub."""
    loggers = [logging.getLogger(name) for name in _AT_IMPORT]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", module=r"vap\.")
        warnings.filterwarnings("always", module=r"vap\.")  # our own
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        from diffusers.utils import logging as diffusers_logging
        from huggingface_hub.utils.tqdm import (
            are_progress_bars_disabled,
            disable_progress_bars,
            enable_progress_bars,
        )
        from transformers.utils import logging as transformers_logging

        libraries = [
            (each, each.get_verbosity(), each.is_progress_bar_enabled())
            for each in (diffusers_logging, transformers_logging)
        ]
        downloads_shown = not are_progress_bars_disabled()
        for library, _, _ in libraries:
            library.set_verbosity_error()
            library.disable_progress_bar()
        # Transformers switches those of the Hub, too.
        if downloads_shown:
            enable_progress_bars()
        try:
            yield
        finally:
            for library, verbosity, bars in libraries:
                library.set_verbosity(verbosity)
                if bars:
                    library.enable_progress_bar()
            if not downloads_shown:
                disable_progress_bars()
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_first() -> bool:
    """Whether this is the process that speaks and writes: the only one, or rank 0."""
    return int(os.environ.get("RANK", "0")) == 0


def leave(code: int) -> None:
    """End this process without waiting for its groups, which may wait for dead processes."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
