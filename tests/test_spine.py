"""From the command line to attention there are few frames, and a demo run touches few files."""

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import vap
from vap import cli
from vap.files import folders

ROOT = str(Path(vap.__file__).parent)
ATTENTION = {"dispatch_attention_fn", "onednn_attention"}
FRAMES = 11
FILES = 44
ONCE = {"check_request", "check_folder", "load_components", "weights_hash"}
_OPTIMIZED = 0x2  # code of a function, not of a module or class


class Seen:
    """Our functions that a run calls, and the deepest stack of them at an attention call."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.stack: list[str] = []
        self.calls: Counter[str] = Counter()
        self.configurations: Counter[Path] = Counter()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call":
            return
        code = frame.f_code  # strings, not paths: this runs at every call of the process
        if (
            code.co_filename.startswith(ROOT)
            and code.co_flags & _OPTIMIZED
            and code.co_name[0] != "<"
        ):
            self.files.add(code.co_filename.removeprefix(ROOT))
            self.calls[code.co_name] += 1
            if code is folders._parsed.__code__:
                self.configurations[frame.f_locals["path"]] += 1
        if code.co_name in ATTENTION:
            self.stack = max(self.stack, _stack(frame), key=len)


def _stack(frame: FrameType | None) -> list[str]:
    """Our own functions above a frame, the outermost first."""
    names = []
    while frame is not None:
        code, frame = frame.f_code, frame.f_back
        if code.co_filename.startswith(ROOT):
            names.append(f"{code.co_filename.removeprefix(ROOT)}:{code.co_name}")
    return names[::-1]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    folders._parsed_once.cache_clear()
    found, output = Seen(), tmp_path_factory.mktemp("demo") / "out.mp4"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["vap", "generate", "--demo", "--steps", "1", "-o", str(output)])
        for name in ("stdout", "stderr"):  # which the command replaces
            patch.setattr(sys, name, getattr(sys, name))
        patch.setattr(signal, "signal", lambda *_: None)
        sys.setprofile(found)
        try:
            with pytest.raises(SystemExit) as ended:
                cli.main()
        finally:
            sys.setprofile(None)
    assert not ended.value.code
    return found


def test_attention_is_few_frames_from_the_command_line(seen: Seen) -> None:
    assert seen.stack[0] == "/cli/__init__.py:main"
    assert seen.stack[-1].startswith("/models/attention.py:")
    assert len(seen.stack) <= FRAMES, seen.stack


def test_a_demo_run_touches_few_files(seen: Seen) -> None:
    assert len(seen.files) <= FILES, sorted(seen.files)


def test_a_demo_run_checks_and_loads_once(seen: Seen) -> None:
    assert {name: seen.calls[name] for name in ONCE} == dict.fromkeys(ONCE, 1)


def test_a_demo_run_reads_each_configuration_once(seen: Seen) -> None:
    names = {path.parent.name for path in seen.configurations}
    assert names >= {"vap-mini", "transformer", "vae", "scheduler", "text_encoder"}
    assert set(seen.configurations.values()) == {1}
