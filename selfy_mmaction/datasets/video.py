"""The one decoder of videos: FFmpeg, through PyAV.

Training, tests, windows, pictures and the page see the same frames at the same
times: what the ``ffmpeg`` command shows of a file.
"""
import os
import shlex
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import chain, count
from typing import NoReturn

import av
import numpy as np

from ..files import printable

# The endings of videos, for searching a folder.
SUFFIXES = ('.3g2', '.3gp', '.asf', '.avi', '.dv', '.f4v', '.flv', '.gif',
            '.ivf', '.m1v', '.m2t', '.m2ts', '.m2v', '.m4v', '.mkv', '.mov',
            '.mp4', '.mpe', '.mpeg', '.mpg', '.mts', '.mxf', '.ogm', '.ogv',
            '.qt', '.rm', '.rmvb', '.ts', '.vob', '.webm', '.wmv', '.wtv')
# FFmpeg also reads playlists, which make it open other files and addresses,
# and hundreds of rare formats, whose decoders few have tested.
_FORMATS = ('asf', 'avi', 'dv', 'flv', 'gif', 'h264', 'hevc', 'ivf', 'm4v',
            'matroska', 'mov', 'mpeg', 'mpegts', 'mpegvideo', 'mxf', 'nut',
            'ogg', 'rm', 'wtv')
_CODECS = ('av1', 'cfhd', 'cinepak', 'dnxhd', 'dvvideo', 'ffv1', 'ffvhuff',
           'flv', 'gif', 'h263', 'h263i', 'h264', 'hevc', 'huffyuv', 'indeo3',
           'indeo5', 'libdav1d', 'mjpeg', 'mpeg1video', 'mpeg2video', 'mpeg4',
           'msmpeg4', 'msmpeg4v1', 'msmpeg4v2', 'msrle', 'msvideo1', 'png',
           'prores', 'qtrle', 'rawvideo', 'rv10', 'rv20', 'rv30', 'rv40',
           'svq1', 'svq3', 'theora', 'utvideo', 'vc1', 'vp6', 'vp6f', 'vp8',
           'vp9', 'vvc', 'wmv1', 'wmv2', 'wmv3')
# A clip of 16 frames of this size takes 0.8 GB in each data loading process,
# and networks see a hundredth of it.
_SIDE = 4096
# MPEG-4 packets below this number of bytes may stand for no frame.
_NO_FRAME = 20
# Titles need not be UTF-8, which PyAV knows from version 19 on.
_TITLES = {} if int(av.__version__.split('.')[0]) > 18 else dict(
    metadata_errors='replace')


class VideoError(ValueError):
    """A file is not a video, or is damaged."""


class VideoFile:
    """The frames of a video file, as a player shows them.

    Frames that an edit list hides do not count, phone videos are upright,
    frames of another size are scaled to that of the first, and of several
    tracks the one that the ``ffmpeg`` command takes is read. One frame is in
    memory at a time, and decoding takes one thread: data loading processes run
    in parallel already.

    Args:
        path (str | os.PathLike): The file. Files from strangers are safe: no
            other file and no address is opened.

    Attributes:
        path (str): The same.
        times (np.ndarray): When each frame is shown, in seconds from the
            first, [T].
        size (tuple[int, int]): Height and width.

    Raises:
        FileNotFoundError: If there is no such file.
        VideoError: If it cannot be decoded as a video.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = os.fspath(path)
        self._container = None
        self._reformatter = av.video.reformatter.VideoReformatter()
        try:
            self._open()
            self._read_index()
        except BaseException:
            self.close()
            raise

    def __len__(self) -> int:
        return len(self.times)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield the frames in order, RGB of type uint8, [H, W, 3]."""
        for index in range(len(self)):
            yield self._to_rgb(self._find(index))

    def __enter__(self) -> 'VideoFile':
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Release the file."""
        if self._container:
            self._container.close()

    @property
    def fps(self) -> float:
        """Mean number of frames per second; 1 for a single frame."""
        last = float(self.times[-1])
        return (len(self) - 1) / last if last else 1.

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """Decode some frames.

        Args:
            indices (Sequence[int]): Their indices from 0, in any order; those
                in ascending order are decoded in one go.

        Returns:
            np.ndarray: RGB of type uint8, [N, H, W, 3].

        Raises:
            IndexError: If there is no such frame.
            VideoError: If a frame cannot be decoded.
        """
        indices = np.asarray(indices, int)
        frames = np.empty((len(indices), *self.size, 3), np.uint8)
        for index in np.unique(indices):
            if not 0 <= index < len(self):
                raise IndexError(f'{printable(self.path)} has the frames 0 to '
                                 f'{len(self) - 1}, but not {index}.')
            frames[indices == index] = self._to_rgb(self._find(index))
        return frames

    def _open(self) -> None:
        """Open the file, or open it again, at its beginning."""
        name = printable(self.path)
        if not os.path.isfile(self.path):
            raise FileNotFoundError(f'video {name} does not exist.')
        with open(self.path, 'rb') as file:  # else the system says why not
            head = file.read(8)
        try:
            self._container = av.open(
                # FFmpeg takes a name such as http:... for an address.
                f'file:{os.path.abspath(self.path)}',
                **_TITLES,
                container_options=dict(
                    format_whitelist=','.join(_FORMATS),
                    codec_whitelist=','.join(_CODECS),
                    protocol_whitelist='file'))
        except av.FFmpegError as error:
            raise VideoError(f'{name} is not a video that can be read: it ' + (
                f'begins with {head!r}.' if head else 'is empty.')) from error
        # Do not invent times: those of B-frames would be wrong.
        self._container.flags &= ~av.container.Flags.gen_pts.value
        self._choose_track()

    def _choose_track(self) -> None:
        """Choose the track that the ffmpeg command takes."""
        streams = self._container.streams
        tracks = [
            x for x in streams.video if x.codec_context and not x.disposition
            & av.stream.Disposition.attached_pic
        ]
        if not tracks:
            held = ', '.join(sorted({x.type for x in streams})) or 'nothing'
            raise VideoError(f'{printable(self.path)} has no video track of a '
                             f'known codec; it holds {held}.')
        track = self._track = max(
            tracks,
            key=lambda x: x.width * x.height + 5_000_000 * bool(
                x.disposition & av.stream.Disposition.default))
        for other in streams:
            if other is not track:
                other.discard = av.stream.Discard.all
        if track.width * track.height > _SIDE**2:
            self._fail(
                f'has frames of {track.width} x {track.height} pixels, more '
                f'than {_SIDE} x {_SIDE}', '-vf scale=-2:1080')
        codec = track.codec_context
        codec.thread_count = 1
        codec.options = dict(
            codec_whitelist=','.join(_CODECS), max_pixels=str(_SIDE**2))
        try:
            codec.open()
        except av.FFmpegError:
            self._fail('has a codec that is not read here')

    def _read_index(self) -> None:
        """Find the number and the times of the frames, and the first frame.

        ``_marks`` are what tells the frames of a file apart, in ascending
        order, and ``_keys`` the marks at which decoding can begin.
        """
        self._by_packets = self._index_packets()
        if self._by_packets:
            self._seek(self._keys[0])
            # Two fields in two packets may make one frame.
            self._by_packets = (
                self._advance(self._marks[0])
                and not self._frame.interlaced_frame)
        if not self._by_packets:
            self._index_frames()
        if not len(self.times):
            self._fail('has no frame that can be decoded')
        first = self._find(0)
        self._coded_size = first.width, first.height
        matrix = first.side_data.get('DISPLAYMATRIX')
        # Where the axes x and y of the coded frame point to on the screen
        self._axes = np.frombuffer(matrix, np.int32).reshape(
            3, 3)[:2, :2] if matrix else np.eye(2)
        self._is_turned = abs(self._axes[0, 1]) > abs(self._axes[0, 0])
        self.size = self._coded_size[::1 if self._is_turned else -1]

    def _index_packets(self) -> bool:
        """Find the frames by their packets, without decoding.

        Returns:
            bool: Whether each packet is known to be a frame at its time, and
            key frames can be found again.
        """
        kind = self._container.format.name
        codec = self._track.codec_context
        if not (kind.startswith(
            ('mov', 'matroska')) or kind == 'avi' and not codec.has_b_frames):
            return False
        marks, keys = array('q'), array('q')
        first = None
        for packet in self._packets():
            if packet.pts is None or packet.is_corrupt or (
                    codec.name == 'mpeg4' and packet.size < _NO_FRAME):
                return False
            # Hidden frames of VP8, which others refer to
            if codec.name == 'vp8' and not memoryview(packet)[0] & 0x10:
                continue
            if first is None:
                first = packet.pts
            if packet.pts < first:
                return False
            if packet.is_keyframe:
                keys.append(packet.pts)
            if not packet.is_discard:
                marks.append(packet.pts)
        self._marks, self._keys = np.unique(marks), np.unique(keys)
        if not 0 < len(marks) == len(self._marks) or first not in keys:
            return False
        self.times = (self._marks - self._marks[0]) * float(
            self._track.time_base)
        return True

    def _index_frames(self) -> None:
        """Find the frames by decoding all of them."""
        self._by_packets = False
        self._seek()
        times = array('d')
        for _, frame in self._decoder:
            time = frame.dts if frame.pts is None else frame.pts
            times.append(np.nan if time is None else time)
        steps = np.diff(times) * float(self._track.time_base)
        # Where recordings were joined, time begins anew; bare streams have
        # none.
        usual = np.median(steps[steps > 0]) if (steps > 0).any() else 1 / (
            self._track.guessed_rate or 25)
        steps[~(steps >= 0)] = usual
        self.times = np.cumsum([0, *steps])[:len(times)]
        self._marks, self._keys = np.arange(len(times)), np.zeros(1)
        self._seek()

    def _packets(self) -> Iterator[av.Packet]:
        """Yield the packets of the track; damage may end them early."""
        with suppress(av.FFmpegError):
            for packet in self._container.demux(self._track):
                if packet.size:
                    yield packet

    def _decode(self) -> Iterator[tuple[int, av.VideoFrame]]:
        """Yield each frame with its mark, from where the file stands."""
        number = count()
        for packet in chain(self._packets(), [None]):
            # Without a frame that is damaged, as ffmpeg does
            with suppress(av.FFmpegError):
                for frame in self._track.codec_context.decode(packet):
                    mark = frame.pts if self._by_packets else next(number)
                    if mark is not None:
                        yield mark, frame

    def _seek(self, key: int | None = None) -> None:
        """Go to a key frame, or by default to the beginning."""
        if self._by_packets and key is not None:
            with suppress(av.FFmpegError):
                self._container.seek(int(key), stream=self._track)
        else:
            self.close()
            self._open()
        self._decoder = self._decode()
        self._index, self._mark = -1, -np.inf

    def _advance(self, mark: int) -> bool:
        """Decode on to a frame; tell whether it is there."""
        while self._mark < mark:
            self._mark, self._frame = next(self._decoder, (np.inf, None))
        return self._mark == mark

    def _find(self, index: int) -> av.VideoFrame:
        """Decode a frame, on from the last one or from a key frame."""
        mark = self._marks[index]
        if self._mark != mark:
            key = self._keys[np.searchsorted(self._keys, mark, 'right') - 1]
            # A key frame that comes next is reached without a jump.
            if self._mark > mark or key > self._marks[self._index + 1]:
                self._seek(key)
        if not self._advance(mark):
            # Some frames can only be decoded from the beginning.
            self._seek()
            if not self._advance(mark):
                self._fail(f'lacks frame {index} of {len(self)}')
        self._index = index
        return self._frame

    def _to_rgb(self, frame: av.VideoFrame) -> np.ndarray:
        """A frame in RGB, of type uint8, [H, W, 3]."""
        width, height = self._coded_size
        image = self._reformatter.reformat(
            frame, width, height, 'rgb24', interpolation='BICUBIC',
            threads=1).to_ndarray()
        axes = self._axes
        if self._is_turned:
            # [H, W, 3] => [W, H, 3]
            image, axes = image.swapaxes(0, 1), axes[::-1]
        x, y = np.where(axes.diagonal() < 0, -1, 1)
        return image[::y, ::x]

    def _fail(self, fault: str, options: str = '-c:v libx264') -> NoReturn:
        """Raise an error that tells what the file is, and what helps."""
        kind = self._container.format.name.split(',')[0]
        codec = self._track.codec_context.name
        name = shlex.quote(printable(self.path))
        raise VideoError(
            f'{printable(self.path)} ({codec} in {kind}) {fault}: '
            f'`ffmpeg -i {name} {options} repaired.mp4` may help.')
