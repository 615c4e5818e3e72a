"""Which files may be decoded as videos, by their first bytes.

FFmpeg, on which every video decoder here is built, also accepts playlists:
text files that make it open other files and URLs.
"""
import contextlib
import os
import os.path as osp
import re
from collections.abc import Iterator
from pathlib import Path

import cv2

from .files import is_inside, is_utf8

# Suffixes of videos in a folder.
SUFFIXES = ('.avi', '.flv', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg',
            '.webm', '.wmv')
# FFmpeg passes files that begin like this to no text demuxer. Most have an
# early NUL byte, which ends FFmpeg's search for words.
_CONTAINERS = re.compile(
    # MP4, MOV, M4V, 3GP: a box of less than 16 MB
    rb'\0...(ftyp|moov|mdat|wide|free|skip)'
    rb'|RIFF....AVI '
    # MPEG-1, -2 and -4 streams
    rb'|\0\0\x01[\xb0-\xbf]'
    # MPEG-TS: packets of 188 bytes, the first with a table of programs
    rb'|G(?=.{0,3}\0).{187}G.{187}G'
    # WMV
    rb'|\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9\x00\xaa\x00\x62\xce\x6c'
    rb'|GIF8[79]a'
    rb'|FLV\x01.\0'
    rb'|OggS\0',
    re.DOTALL)
# In Matroska and WebM: the element that holds the frames, and its size. The
# first byte of the size says how many follow.
_SEGMENT = re.compile(rb'\x1aE\xdf\xa3.*?\x18\x53\x80\x67(.{8})', re.DOTALL)
# A clip of 16 such frames takes 0.8 GB in each data loading process, and
# networks see a hundredth of it.
_SIDE = 4096

# FFmpeg's messages: OpenCV reads this once, when it first opens a video.
os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """Suppress OpenCV's messages, which a one-line error replaces."""
    level = cv2.utils.logging.setLogLevel(0)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(level)


def open_video(source: str | int) -> cv2.VideoCapture:
    """Open a file, or a camera by its index, without messages.

    Args:
        source (str | int): A file, checked by `find_fault` first, or a camera.
    """
    # FFmpeg takes a relative name such as http:... for an address.
    if isinstance(source, str):
        source = osp.abspath(source)
    with quiet_opencv():
        return cv2.VideoCapture(source)


def find_fault(path: str) -> str | None:
    """Find out why a file must not be passed to a video decoder.

    Args:
        path (str): The file, which need not exist.

    Returns:
        str | None: What follows its name in a message; None if its beginning
        is sound.

    Raises:
        OSError: If the file cannot be read.
    """
    return next(filter(None, map(_find_fault, _files(path))), None)


def _files(path: str) -> list[str]:
    """The files that a decoder may open for a path."""
    # MMAction2's DecordInit adds an ending to names that have none.
    paths = [path] if osp.splitext(path)[1] else [path, f'{path}.mp4']
    return [*filter(osp.isfile, paths)]


def _find_fault(path: str) -> str | None:
    if not is_utf8(path):
        return 'has a name that is not UTF-8: rename it'
    size = osp.getsize(path)
    with open(path, 'rb') as file:
        head = file.read(3 * 188)
    if not head:
        return 'is an empty file'
    if not _CONTAINERS.match(head) and not _is_matroska(head):
        return f'is not a video: it begins with {head[:8]!r}'
    video = open_video(path)
    if not video.isOpened():
        return 'cannot be decoded as a video'
    frames, width, height = (
        video.get(x)
        for x in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FRAME_WIDTH,
                  cv2.CAP_PROP_FRAME_HEIGHT))
    video.release()
    if frames > size:
        return f'claims {frames:.0f} frames in {size} bytes'
    return find_size_fault(width, height)


def find_size_fault(width: float, height: float) -> str | None:
    """What is wrong with the size of frames, as `find_fault`."""
    if width * height > _SIDE**2:
        return (f'has frames of {width:.0f} x {height:.0f} pixels, more than '
                f'{_SIDE} x {_SIDE}: make them smaller')
    return None


def find_cut(path: str) -> str | None:
    """Find out whether a Matroska or WebM file was cut short.

    A decoder reads such a file as a shorter video. Its header has the number
    of bytes that it had, unless it was written without an end, as a stream.

    Args:
        path (str): The file, which need not exist.

    Returns:
        str | None: What follows its name in a message; None if it is whole.
    """
    return next(filter(None, map(_find_cut, _files(path))), None)


def _find_cut(path: str) -> str | None:
    with open(path, 'rb') as file:
        segment = _SEGMENT.match(file.read(4096))
    if not segment:
        return None
    length = 9 - segment[1][0].bit_length()
    unknown = (1 << 7 * length) - 1
    number = int.from_bytes(segment[1][:length], 'big') & unknown
    size, expected = osp.getsize(path), segment.start(1) + length + number
    if number == unknown or size >= expected:
        return None
    return f'ends after {size} of {expected} bytes'


def _is_matroska(head: bytes) -> bool:
    """Whether FFmpeg takes a file for Matroska or WebM by its beginning.

    Its header must name it; a name behind the header may be one in a text.
    """
    if not head.startswith(b'\x1aE\xdf\xa3') or not any(head[4:5]):
        return False
    # The length of the header, behind as many zero bits as it has more bytes.
    start = 13 - head[4].bit_length()
    length = int.from_bytes(head[4:start], 'big') % 2**(7 * (start - 4))
    header = head[start:start + length]
    return len(header) == length and (b'matroska' in header
                                      or b'webm' in header)


def find_videos(folder: str) -> list[str]:
    """Return the videos in a folder and its subfolders, by their suffixes.

    Links are followed; hidden files and folders are skipped.
    """
    videos = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [
            name for name in folders if not name.startswith('.')
            # a link to a parent folder
            and not is_inside(
                os.path.realpath(place),
                os.path.realpath(os.path.join(place, name)))
        ]
        videos += [
            str(Path(place, name)) for name in names
            if name.lower().endswith(SUFFIXES) and not name.startswith('.')
        ]
    if not videos:
        raise FileNotFoundError(
            f'folder {folder} holds no video ({", ".join(SUFFIXES)}).')
    return sorted(videos)
