"""The one decoder of videos: FFmpeg, through PyAV.

Training, tests, windows, pictures and the page see the same frames at the same
times: what the ``ffmpeg`` command shows of a file.
"""
import os
import shlex
from array import array
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from itertools import chain, count
from typing import NoReturn

import av
import numpy as np

from ..files import printable

# The endings of videos, for searching a folder.
SUFFIXES = ('.3g2', '.3gp', '.asf', '.avi', '.dv', '.f4v', '.flv', '.gif',
            '.m2t', '.m2ts', '.m2v', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg',
            '.mpg', '.mts', '.mxf', '.ogm', '.ogv', '.qt', '.rm', '.rmvb',
            '.ts', '.vob', '.webm', '.wmv')
# FFmpeg also reads playlists, which make it open other files and addresses,
# and hundreds of rare formats, whose decoders few have tested.
_KNOWN = dict(
    protocol_whitelist='file',
    format_whitelist='asf,avi,dv,flv,gif,h264,hevc,ivf,m4v,matroska,mov,mpeg,'
    'mpegts,mpegvideo,mxf,nut,ogg,rm,wtv',
    codec_whitelist='av1,cfhd,cinepak,dnxhd,dvvideo,ffv1,ffvhuff,flv,gif,h263,'
    'h263i,h264,hevc,huffyuv,indeo3,indeo5,libdav1d,mjpeg,mpeg1video,'
    'mpeg2video,mpeg4,msmpeg4,msmpeg4v1,msmpeg4v2,msrle,msvideo1,png,prores,'
    'qtrle,rawvideo,rv10,rv20,rv30,rv40,svq1,svq3,theora,utvideo,vc1,vp6,vp6f,'
    'vp8,vp9,vvc,wmv1,wmv2,wmv3')
# 16 frames of this size take 0.8 GB, and networks see a hundredth of it.
_SIDE = 4096
_RGB = dict(format='rgb24', interpolation='BICUBIC', threads=1)
# Titles need not be UTF-8, which PyAV knows from version 19 on.
_TITLES = {} if int(av.__version__.split('.')[0]) > 18 else dict(
    metadata_errors='replace')


class VideoError(ValueError):
    """A file is not a video, or is damaged.

    Args:
        name (str): The file.
        fault (str): What follows its name in the message.
    """

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(name, fault)
        self.fault = fault

    def __str__(self) -> str:
        return f'{self.args[0]} {self.fault}.'


class VideoFile(AbstractContextManager):
    """The frames of a video file, as a player shows them.

    Frames that an edit list hides do not count, phone videos are upright, a
    frame of another size is scaled to that of the first, and of two tracks the
    one that the ``ffmpeg`` command takes is read. One frame is in memory at a
    time. Decoding takes one thread: data loading processes are parallel.

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
        self._container, self._kind = None, ''
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
        if not os.path.isfile(self.path):
            if os.path.exists(self.path):
                self._fail('is not a file')
            raise FileNotFoundError(
                f'video {printable(self.path)} does not exist.')
        # FFmpeg takes a bare name such as http:... for an address.
        url = f'file:{os.path.abspath(self.path)}'
        try:
            self._container = av.open(url, container_options=_KNOWN, **_TITLES)
            # Do not invent times: those of B-frames would be wrong.
            self._container.flags &= ~av.container.Flags.gen_pts.value
            self._open_track()
        except av.FFmpegError:
            with open(self.path, 'rb') as file:  # or the system says why not
                head = file.read(8)
            self._fail(
                f'is not a video, or is damaged: it begins with {head!r}'
                if head else 'is an empty file')

    def _open_track(self) -> None:
        """Open the track that the ffmpeg command takes."""
        flags = av.stream.Disposition

        def rank(track: av.VideoStream) -> int:
            is_default = bool(track.disposition & flags.default)
            return track.width * track.height + 5_000_000 * is_default

        tracks = [
            x for x in self._container.streams.video
            if x.codec_context and not x.disposition & flags.attached_pic
        ]
        if not tracks:
            self._fail('holds no video')
        self._track = max(tracks, key=rank)
        for stream in self._container.streams:
            if stream is not self._track:
                stream.discard = av.stream.Discard.all
        codec = self._track.codec_context
        self._format = self._container.format.name.split(',')[0]
        # PyAV may crash on the name of a codec that failed to open.
        self._kind = f'({codec.name} in {self._format}) '
        if codec.width * codec.height > _SIDE**2:
            self._fail(
                f'has frames of {codec.width} x {codec.height} pixels, more '
                f'than {_SIDE} x {_SIDE}', '-vf scale=-2:1080')
        codec.thread_count = 1
        codec.options = {**_KNOWN, 'max_pixels': str(_SIDE**2)}
        codec.open()

    def _read_index(self) -> None:
        """Find the number and the times of the frames, and the first frame.

        ``_marks`` are what tells the frames of a file apart, in ascending
        order, and ``_keys`` the marks at which decoding can begin.
        """
        self._by_packets = True
        if not self._index_packets():
            self._index_frames()
        first = self._find(0)
        self._coded_size = first.width, first.height
        matrix = first.side_data.get('DISPLAYMATRIX')
        # Where the axes x and y of the coded frame point to on the screen
        self._axes = np.frombuffer(
            matrix, np.int32)[[0, 1, 3, 4]].tolist() if matrix else (1, 0, 0,
                                                                     1)
        self.size = self._to_rgb(first).shape[:2]

    def _index_packets(self) -> bool:
        """Find the frames by their packets; tell whether to rely on them."""
        codec = self._track.codec_context
        reordered = self._format == 'avi' and codec.has_b_frames
        if reordered or self._format not in ('avi', 'matroska', 'mov'):
            return False
        marks, keys = array('q'), array('q')
        for packet in self._packets():
            # Small packets of MPEG-4 may stand for no frame.
            if packet.pts is None or packet.is_corrupt or (
                    codec.name == 'mpeg4' and packet.size < 20):
                return False
            # VP8 has hidden frames, which others refer to.
            if codec.name == 'vp8' and not memoryview(packet)[0] & 0x10:
                continue
            if packet.is_keyframe:
                keys.append(packet.pts)
            # Frames before the first key frame may be missing.
            if not keys or packet.pts < keys[0]:
                return False
            if not packet.is_discard:
                marks.append(packet.pts)
        self._marks, self._keys = np.unique(marks), np.unique(keys)
        self.times = (self._marks - self._marks[:1]) * float(
            self._track.time_base)
        if not 0 < len(marks) == len(self._marks):
            return False
        self._seek(self._keys[0])
        # Two fields in two packets may make one frame.
        return (self._advance(self._marks[0])
                and not self._frame.interlaced_frame)

    def _index_frames(self) -> None:
        """Find the frames by decoding all of them."""
        self._by_packets = False
        self._seek()
        times = array('d')
        for _, frame in self._decoder:
            time = frame.dts if frame.pts is None else frame.pts
            times.append(np.nan if time is None else time)
        steps = np.diff(times) * float(self._track.time_base)
        usual = steps[steps > 0] if (steps > 0).any() else (
            1 / (self._track.guessed_rate or 25))
        # Where recordings were joined, time begins anew; some have none.
        steps[~(steps >= 0)] = np.median(usual)
        self.times = np.cumsum([0, *steps])
        if not times:
            self._fail('has no frame that can be decoded')
        self._marks, self._keys = np.arange(len(times)), np.zeros(1)
        self._seek()

    def _packets(self) -> Iterator[av.Packet]:
        """Yield the packets of the track; damage may end them early."""
        # PyAV's IndexError: of a track that begins in the middle
        with suppress(av.FFmpegError, IndexError):
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
        try:
            image = self._reformatter.reformat(frame, *self._coded_size,
                                               **_RGB).to_ndarray()
        except av.FFmpegError:
            self._fail('has colors that cannot be converted')
        a, b, c, d = self._axes
        if abs(b) > abs(a):
            # [H, W, 3] => [W, H, 3]
            image, a, d = image.swapaxes(0, 1), c, b
        return image[::-1 if d < 0 else 1, ::-1 if a < 0 else 1]

    def _fail(self, fault: str, options: str = '-c:v libx264') -> NoReturn:
        """Raise an error that tells what the file is, and what helps."""
        name = printable(self.path)
        remedy = (f': `ffmpeg -i {shlex.quote(name)} {options} repaired.mp4` '
                  'may help') if self._kind else ''
        raise VideoError(name, f'{self._kind}{fault}{remedy}')
