"""How large media may be; checked before anything is decoded."""

from __future__ import annotations

from dataclasses import dataclass

from vap.files.errors import refusal

_FREE_PIXELS = 1_000_000_000  # 480 frames of 1080p, in a file of any size


@dataclass(frozen=True, slots=True)
class MediaLimits:
    """Upper bounds for media from outside; what exceeds one is a ``MediaError``."""

    seconds: float = 600.0  # of the longest clip
    frames: int = 20_000  # of a clip, at most
    min_frames: int = 2  # one frame shows no motion
    pixels: int = 8192 * 4320  # most pixels of one frame or image (8192 x 4320, "8K")
    # Most pixels returned by one read, after selection and resizing; 3 bytes each.
    total_pixels: int = 1_000_000_000
    file_bytes: int = 4 * 1024**3
    # Most pixels decoded for a byte of the file, after the first billion. Of a progressive JPEG,
    # every scan counts.
    pixels_per_byte: int = 5_000

    def check_bytes(self, name: object, size: int) -> None:
        """Refuse an empty or too large file."""
        if size == 0:
            raise refusal(name, "the file is empty (0 bytes)", "Copy or download it again.")
        if size > self.file_bytes:
            problem = f"the file has {size:,} bytes, more than the {self.file_bytes:,} allowed"
            raise refusal(name, problem, _fix("Cut or compress it", "file_bytes"))

    def check_size(self, name: object, width: int, height: int) -> None:
        """Refuse a frame size that is not positive or too large."""
        if width < 1 or height < 1:
            problem = f"it claims frames of {width}x{height} pixels"
            raise refusal(name, problem, "The file is damaged; export it again.")
        if (pixels := width * height) > self.pixels:
            problem = (
                f"its frames claim {width}x{height} = {pixels:,} pixels, more than the "
                f"{self.pixels:,} allowed"
            )
            raise refusal(name, problem, _fix("Scale it down", "pixels"))

    def check_length(self, name: object, frames: int, seconds: float) -> None:
        """Refuse a clip that is too short or too long."""
        if frames == 0:
            raise refusal(name, "it has no frames", "Export it again from its original.")
        if frames < self.min_frames:
            problem = f"it has {frames} frame{'s' * (frames > 1)}, and a clip needs at least "
            fix = (
                "A still shows no motion to follow: give a video. In Python, read_image reads "
                "stills, and MediaLimits(min_frames=1) allows clips of one frame."
            )
            raise refusal(name, problem + str(self.min_frames), fix)
        if frames > self.frames:
            problem = f"it has at least {frames:,} frames; at most {self.frames:,} are allowed"
            raise refusal(name, problem, _fix("Cut it shorter", "frames"))
        if seconds > self.seconds:
            problem = f"it lasts {seconds:,.1f} s, longer than the {self.seconds:,.1f} s allowed"
            raise refusal(name, problem, _fix("Cut it shorter", "seconds"))

    def check_total(self, name: object, frames: int, width: int, height: int) -> None:
        """Refuse a read whose result takes too much memory."""
        if (total := frames * width * height) > self.total_pixels:
            problem = (
                f"{frames} frames of {width}x{height} are {total:,} pixels, more than the "
                f"{self.total_pixels:,} allowed at once"
            )
            fix = "Use fewer or smaller frames. In Python, give max_frames, frame_indices or size, "
            raise refusal(name, problem, fix + "or raise MediaLimits.total_pixels.")

    def check_effort(self, name: object, pixels: int, file_bytes: int) -> None:
        """Refuse a small file that decodes to more pixels than any camera or encoder makes."""
        if pixels > _FREE_PIXELS + self.pixels_per_byte * file_bytes:
            problem = (
                f"{pixels:,} pixels would be decoded from its {file_bytes:,} bytes, more than "
                f"{self.pixels_per_byte:,} a byte"
            )
            fix = _fix("Scale it down, cut it or export it again", "pixels_per_byte")
            raise refusal(name, problem, fix)


def _fix(remedy: str, limit: str) -> str:
    return f"{remedy}. In Python, raise MediaLimits.{limit}."
