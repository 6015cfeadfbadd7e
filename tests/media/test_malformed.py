import contextlib
import subprocess
import sys
import time
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.media.making import moving
from tests.media.malformed import ABSURD, CASES, DAMAGED, Case, whole
from vap.media import MediaError, MediaLimits, read_clip, read_image, read_metadata, write_video

SECONDS = 5
MEGABYTES = 1000


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name[:40])
def test_malformed_media_is_refused_by_name_and_at_once(tmp_path, case: Case):
    path = tmp_path / case.name
    case.make(path)
    before = time.perf_counter()
    with pytest.raises(MediaError, match=case.match) as caught:
        case.read(path)
    assert time.perf_counter() - before < SECONDS
    message = str(caught.value)
    assert str(path) in message
    assert message.endswith((".", "fixed.mp4", "_pixels", "_bytes", "_byte"))


@pytest.mark.parametrize("junk", [bytes(5), bytes(4096), b"junk" * 500], ids=["few", "0", "text"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_what_follows_a_whole_video_does_no_harm(tmp_path, suffix, junk):
    path = tmp_path / f"a{suffix}"
    content = whole(path)
    expected = read_clip(path).frames
    path.write_bytes(content + junk)
    assert (read_clip(path).frames == expected).all()


@pytest.mark.parametrize(
    ("suffix", "begun"),
    [(".mp4", b"\0\0\xff\xffmoof"), (".mkv", b"\x18\x53\x80\x67\x84")],
    ids=["fragment", "segment"],
)
def test_a_further_part_that_is_cut_off_is_no_junk(tmp_path, suffix, begun):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(whole(path) + begun)
    with pytest.raises(MediaError, match="ends early"):
        read_clip(path)


def test_damaged_and_absurd_media_take_little_memory(tmp_path):
    cases = [*DAMAGED, *ABSURD]
    for case in cases:
        case.make(tmp_path / case.name)
    code = (
        "import re, sys\n"
        "from vap.media import MediaError, read_clip, read_image\n"
        "for item in sys.argv[1:]:\n"
        "    kind, path = item.split(':', 1)\n"
        "    try:\n"
        "        {'read_clip': read_clip, 'read_image': read_image}[kind](path)\n"
        "    except MediaError:\n"
        "        pass\n"
        "    else:\n"
        "        sys.exit(path + ' was read')\n"
        # Not ru_maxrss, which remembers the process that started this one.
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) // 1024)\n"
    )
    items = [f"{case.read.__name__}:{tmp_path / case.name}" for case in cases]
    command = [sys.executable, "-c", code, *items]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < MEGABYTES


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    files = [
        write_video(moving(3, 32, 32), folder / name, 16) for name in ("a.mp4", "a.webm", "a.gif")
    ]
    return [path.read_bytes() for path in files]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_bytes_are_read_or_refused_in_words(tmp_path, sound, data):
    magic = data.draw(
        st.sampled_from(
            [b"", b"\x1aE\xdf\xa3", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"RIFF", b"\xff\xd8\xff"]
        )
    )
    content = magic + data.draw(st.binary(max_size=200))
    whole = data.draw(st.sampled_from([None, *sound]))
    if whole is not None:
        changed = bytearray(whole)
        places = st.integers(0, len(changed) - 1)
        for place, value in data.draw(
            st.dictionaries(places, st.integers(0, 255), max_size=20)
        ).items():
            changed[place] = value
        content = bytes(changed)
    path = tmp_path / "any.mp4"
    path.write_bytes(content)
    for read in (read_clip, read_image, read_metadata):
        with contextlib.suppress(MediaError):  # any other error fails the test
            read(path)


def test_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = write_video(moving(2), tmp_path / "a.mp4", 16)

    def denied(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)  # also for the superuser, whom modes do not bind
    with pytest.raises(MediaError, match=r"a\.mp4: permission denied\. Make it readable"):
        read_clip(path)


def test_cover_picture_of_a_song_is_no_video(tmp_path):
    path = tmp_path / "song.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=1)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuvj420p"
        stream.disposition = av.stream.Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(moving(1, 32, 32)[0]).reformat(format="yuvj420p")
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MediaError, match="song"):
        read_clip(path)


@pytest.mark.parametrize(
    ("limits", "match"),
    [
        (MediaLimits(frames=5), "at least 6 frames; at most 5 are allowed.*MediaLimits.frames"),
        (MediaLimits(seconds=0.1), r"lasts 0\.5 s, longer than the 0\.1 s.*MediaLimits\.seconds"),
        (MediaLimits(pixels=100), "100.* allowed.*MediaLimits.pixels"),
        (MediaLimits(file_bytes=100), "more than the 100 allowed.*MediaLimits.file_bytes"),
    ],
)
def test_each_limit_names_itself(tmp_path, limits, match):
    path = write_video(moving(8), tmp_path / "a.mp4", 16)
    with pytest.raises(MediaError, match=match):
        read_clip(path, limits=limits)


def test_stills_are_clips_where_allowed():
    assert len(read_clip(moving(1), limits=MediaLimits(min_frames=1)).frames) == 1
