"""Video files and cameras: read, written and shown."""
import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..containers import find_fault, open_video, quiet_opencv
from ..files import replaced_when_done

# Codecs that OpenCV's wheels can write; browsers play only the second.
CODECS = {'.mp4': 'mp4v', '.webm': 'VP80'}
# Threads share standard error.
_SILENCE = threading.Lock()
# Assumed frames per second of a camera that does not report them.
_CAMERA_FPS = 30


class Video:
    """The frames of a video file or of a camera, one after the other.

    Args:
        source (str): The file, or the index of the camera.

    Attributes:
        source (str): The same.
        is_camera (bool): Whether it is a camera, without an end.
        fps (float): Frames per second.
        total_frames (int, optional): Number of frames, if known.

    Raises:
        FileNotFoundError: If there is no such file or camera.
        ValueError: If it cannot be decoded.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.is_camera = is_camera(source)
        if not self.is_camera and not os.path.isfile(source):
            raise FileNotFoundError(f'video {source} does not exist.')
        fault = None if self.is_camera else find_fault(source)
        if fault:
            raise ValueError(f'{source} {fault}.')
        self._capture = open_video(int(source) if self.is_camera else source)
        if not self._capture.isOpened():
            if self.is_camera:
                raise FileNotFoundError(
                    f'camera {source} cannot be opened: connect one, or give '
                    'its index (the N of /dev/videoN), or a file.')
            raise ValueError(f'{source} cannot be decoded as a video.')
        self.fps = self._capture.get(cv2.CAP_PROP_FPS)
        if self.is_camera and not self.fps > 0:
            self.fps = _CAMERA_FPS
        if not 0 < self.fps < 1000:
            raise ValueError(f'{source} has a frame rate of {self.fps:g}: '
                             'convert it to a video with a known one.')
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total_frames = count if count > 0 else None

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames, RGB of type uint8, [H, W, 3]; once only."""
        with contextlib.closing(self):
            while True:
                found, frame = self._capture.read()
                if not found:
                    return
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)

    def close(self) -> None:
        """Release the file or the camera."""
        self._capture.release()


def is_camera(source: str) -> bool:
    """Whether this is the index of a camera: a number, not a file."""
    return source.isdecimal() and not os.path.exists(source)


def check_video_path(path: Path) -> None:
    """Raise a ValueError unless `write_video` can write such a file."""
    endings = [*CODECS, '.gif']
    if path.suffix.lower() not in endings:
        raise ValueError(f'video {path} cannot be written: give it the '
                         f'ending {", ".join(endings[:-1])} or .gif.')


def write_video(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    """Write a video frame by frame, atomically.

    Only a GIF is collected in memory first. An interruption (Ctrl-C) ends the
    video; the file has the frames before it.

    Args:
        path (Path): A file with the ending .mp4, .webm or .gif.
        frames (Iterable[np.ndarray]): RGB of type uint8, [H, W, 3] each, all
            of one size.
        fps (float): Frames per second.

    Raises:
        OSError: If it cannot be written.
    """
    check_video_path(path)
    interruption = None
    with replaced_when_done(path) as unfinished:
        if path.suffix.lower() == '.gif':
            _write_gif(unfinished, frames, fps)
        else:
            with quiet_opencv():
                interruption = _write_frames(unfinished, frames, fps)
    if interruption:
        raise interruption


def shrink(frame: np.ndarray, side: int) -> np.ndarray:
    """Resize a frame, of even size and its longer side no longer than this.

    Args:
        frame (np.ndarray): RGB of type uint8, [H, W, 3].
        side (int): In pixels.
    """
    factor = min(1, side / max(frame.shape[:2]))
    size = [max(2, round(factor * x / 2) * 2) for x in frame.shape[1::-1]]
    return cv2.resize(frame, size, interpolation=cv2.INTER_AREA)


def _write_gif(path: Path, frames: Iterable[np.ndarray], fps: float) -> None:
    first, *others = map(Image.fromarray, frames)
    # Viewers slow down GIFs of more than 50 frames per second.
    first.save(
        path,
        save_all=True,
        append_images=others,
        duration=max(20, round(1000 / fps)),
        loop=0)


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Silence C code: OpenCV warns about every WebM that it writes."""
    with _SILENCE, open(os.devnull, 'wb') as nowhere:
        stderr = os.dup(2)
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _write_frames(path: Path, frames: Iterable[np.ndarray],
                  fps: float) -> KeyboardInterrupt | None:
    """Write a video, and return what interrupted the frames, if anything."""
    codec = cv2.VideoWriter_fourcc(*CODECS[path.suffix.lower()])
    writer, count, interruption = cv2.VideoWriter(), 0, None
    try:
        for frame in frames:
            if not count:
                with _silence():
                    writer.open(str(path), codec, fps, frame.shape[1::-1])
            writer.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
            count += 1
    except KeyboardInterrupt as error:
        interruption = error
    finally:
        writer.release()
    # The writer reports neither a full disk nor a missing codec, and the
    # header may claim frames that are not there.
    capture, written = open_video(str(path)), 0
    while capture.grab():
        written += 1
    capture.release()
    if abs(written - count) > 1:
        raise OSError(errno.ENOSPC, 'the disk is full, or OpenCV lacks the '
                      'codec')
    return interruption


def has_display() -> bool:
    """Whether a window can be shown."""
    return sys.platform != 'linux' or any(
        os.environ.get(name) for name in ('DISPLAY', 'WAYLAND_DISPLAY'))


def show_video(frames: Iterable[np.ndarray],
               video: Video) -> Iterator[np.ndarray]:
    """Show frames in a window as they pass; the key q ends the video.

    Args:
        frames (Iterable[np.ndarray]): RGB of type uint8, [H, W, 3] each.
        video (Video): Their video. A file is shown at its frame rate at
            most, a camera without a limit.

    Yields:
        np.ndarray: The same frames.
    """
    wait = 1 if video.is_camera else max(1, round(1000 / video.fps))
    for frame in frames:
        cv2.imshow(video.source, cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        if cv2.waitKey(wait) == ord('q'):
            break
        yield frame
    cv2.destroyAllWindows()
