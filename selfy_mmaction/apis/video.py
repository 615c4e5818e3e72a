"""Videos and cameras: read, written and shown."""
import os
import sys
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from PIL import Image

from ..datasets.video import VideoFile
from ..files import replaced_when_done

# Codecs of written files, by their ending. Browsers play the second alone.
CODECS = {'.mp4': 'mpeg4', '.webm': 'libvpx'}
# Bits per pixel: motion is to stay as sharp as it was drawn.
_BITS = 64
# Ticks per second of written videos: the most that MPEG-4 allows for the usual
# frame rates, that of American television among them.
_TICKS = 60000
_CAMERAS = ('rtsp://', 'rtsps://', 'rtmp://', 'http://', 'https://')
# Assumed frames per second of a camera that does not report them.
_CAMERA_FPS = 30


class Video:
    """The frames of a video file or of a camera, one after the other.

    A file is read by :class:`VideoFile`, a camera by OpenCV.

    Args:
        source (str): The file, the index of a camera, or the address of a
            network camera.

    Attributes:
        source (str): The same.
        is_camera (bool): Whether it is a camera, without an end.
        fps (float): Frames per second; of a file, their mean.
        times (np.ndarray, optional): When each frame of a file is shown, in
            seconds from the first, and at last when the last one ends,
            [T + 1]. Those of a camera are not known.

    Raises:
        FileNotFoundError: If there is no such file or camera.
        ValueError: If it cannot be decoded.
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self.is_camera = is_camera(source)
        self.times = None
        if self.is_camera:
            self._open_camera()
            return
        self._frames = VideoFile(source)
        self.fps = self._frames.fps
        times = self._frames.times
        self.times = np.append(times, times[-1] + 1 / self.fps)

    def _open_camera(self) -> None:
        index = self.source
        self._frames = cv2.VideoCapture(
            int(index) if index.isdecimal() else index)
        if not self._frames.isOpened():
            raise FileNotFoundError(
                f'camera {index} cannot be opened: connect one, or give its '
                'index (the N of /dev/videoN), its address, or a file.')
        fps = self._frames.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps < 1000 else _CAMERA_FPS

    @property
    def total_frames(self) -> int | None:
        """Number of frames of a file."""
        return None if self.times is None else len(self.times) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames, RGB of type uint8, [H, W, 3]; once only."""
        try:
            if not self.is_camera:
                yield from self._frames
                return
            while True:
                found, frame = self._frames.read()
                if not found:
                    return
                yield cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
        finally:
            self.close()

    def close(self) -> None:
        """Release the file or the camera."""
        if self.is_camera:
            self._frames.release()
        else:
            self._frames.close()


def is_camera(source: str) -> bool:
    """Whether this is the index or the address of a camera, not a file."""
    return (source.isdecimal() or
            source.lower().startswith(_CAMERAS)) and not os.path.exists(source)


def check_video_path(path: Path) -> None:
    """Raise a ValueError unless `write_video` can write such a file."""
    endings = [*CODECS, '.gif']
    if path.suffix.lower() not in endings:
        raise ValueError(f'video {path} cannot be written: give it the '
                         f'ending {", ".join(endings[:-1])} or .gif.')


def write_video(path: Path,
                frames: Iterable[np.ndarray],
                fps: float,
                times: np.ndarray | None = None) -> None:
    """Write a video frame by frame, atomically.

    Only a GIF is collected in memory first. An interruption (Ctrl-C) ends the
    video; the file has the frames before it.

    Args:
        path (Path): A file with the ending .mp4, .webm or .gif.
        frames (Iterable[np.ndarray]): RGB of type uint8, [H, W, 3] each, all
            of one size.
        fps (float): Frames per second.
        times (np.ndarray, optional): When each frame is shown, and at last
            when the last one ends, in seconds, [T + 1]. By default all are
            shown equally long.

    Raises:
        OSError: If it cannot be written.
    """
    check_video_path(path)
    interruption = []

    def until_interrupted() -> Iterator[np.ndarray]:
        try:
            yield from frames
        except KeyboardInterrupt as error:
            interruption.append(error)

    write = _write_gif if path.suffix.lower() == '.gif' else _write_frames
    with replaced_when_done(path) as unfinished:
        try:
            write(unfinished, until_interrupted(), fps, times)
        except av.FFmpegError as error:
            # PyAV's errors of the disk are OSErrors, too, with another text.
            raise OSError(error.errno, error.strerror) from error
    if interruption:
        raise interruption[0]


def _write_gif(path: Path, frames: Iterable[np.ndarray], fps: float,
               times: np.ndarray | None) -> None:
    images = [*map(Image.fromarray, frames)]
    if not images:
        return
    if times is None:
        times = np.arange(len(images) + 1) / fps
    # Viewers slow down GIFs of more than 50 frames per second.
    lengths = np.maximum(20, np.diff(1000 * times).round())
    images[0].save(
        path,
        save_all=True,
        append_images=images[1:],
        duration=lengths[:len(images)].astype(int).tolist(),
        loop=0)


def _write_frames(path: Path, frames: Iterable[np.ndarray], fps: float,
                  times: np.ndarray | None) -> None:
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), 'w') as file:
        stream = None
        for i, frame in enumerate(frames):
            if stream is None:
                stream = file.add_stream(CODECS[path.suffix.lower()], rate)
                stream.height, stream.width = frame.shape[:2]
                stream.pix_fmt = 'yuv420p'
                stream.gop_size = 12
                stream.bit_rate = int(
                    min(_BITS * rate * frame[..., 0].size, 2**30))
                stream.codec_context.time_base = Fraction(1, _TICKS)
            picture = av.VideoFrame.from_ndarray(frame).reformat(
                format='yuv420p', interpolation='BICUBIC')
            time = i / fps if times is None else times[i]
            picture.pts = round(time * _TICKS)
            picture.time_base = Fraction(1, _TICKS)
            file.mux(stream.encode(picture))
        if stream:
            file.mux(stream.encode())


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
