"""Which files are videos, by their first bytes, and which of them whole."""
import http.server
import struct
import threading

import cv2
import numpy as np
import pytest
from mmaction.datasets.transforms import DecordInit
from PIL import Image
from releases.files_of_release import count_video_frames
from releases.splitting import look

from selfy_mmaction import containers
from selfy_mmaction.apis.video import Video
from selfy_mmaction.containers import find_cut, find_fault
from selfy_mmaction.datasets.loading import BadClip, GuardedLoader, refuse

# What FFmpeg takes for videos, and would open other files or addresses for.
PLAYLISTS = {
    'HLS': '#EXTM3U\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n',
    'concat': "ffconcat version 1.0\nfile '{target}'\n",
    'SDP': 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\n',
    'DASH': '<?xml version="1.0"?><MPD><BaseURL>{target}</BaseURL></MPD>\n',
    'of another box': '\n\n\n\nftypjp2 \nc=IN IP4 127.0.0.1\n',
    'of Matroska': '\x1aE{magic}\nc=IN IP4 127.0.0.1\nwebm\nv=0\n',
    'behind Matroska': '\x1aE{magic}\x81c=IN IP4 127.0.0.1\nwebm\nv=0\n',
    'of another stream': 'G\nc=IN IP4 127.0.0.1\n{pad}G{pad}G',
}


def write(path, codec, size=(64, 48), frames=3):
    """Write a black video."""
    if not codec:
        Image.new('L', size).save(path)
        return path
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*codec), 12, size)
    for _ in range(frames):
        writer.write(np.zeros((*size[::-1], 3), np.uint8))
    writer.release()
    assert path.stat().st_size > 0
    return path


VIDEOS = {
    'x.mp4': 'mp4v',
    'x.m4v': 'mp4v',
    'x.mov': 'mp4v',
    'x.3gp': 'mp4v',
    'x.mkv': 'mp4v',
    'x.webm': 'VP80',
    'x.avi': 'MJPG',
    'x.mpg': 'mpg2',
    'x.ts': 'mp4v',
    'x.flv': 'FLV1',
    'x.wmv': 'WMV2',
    'x.gif': None
}


@pytest.mark.parametrize('name', VIDEOS)
def test_videos_pass(name, tmp_path):
    # FFmpeg needs some packets to find the video in an MPEG-TS.
    path = write(tmp_path / name, VIDEOS[name], frames=30)
    assert find_fault(str(path)) is None
    # MMAction2 takes it for NAME.mp4
    path.rename(tmp_path / 'y.mp4')
    assert find_fault(str(tmp_path / 'y')) is None


@pytest.mark.parametrize('name', VIDEOS)
def test_videos_are_whole(name, tmp_path):
    path = write(tmp_path / name, VIDEOS[name])
    assert find_cut(str(path)) is None


@pytest.mark.parametrize('name', ['x.mkv', 'x.webm'])
def test_a_cut_video_is_not(name, tmp_path):
    path = write(tmp_path / name, VIDEOS[name])
    data = path.read_bytes()
    path = path.rename(tmp_path / 'y.mp4')
    path.write_bytes(data[:-1])
    # MMAction2 takes it for NAME.mp4
    for asked in path, tmp_path / 'y':
        assert find_cut(
            str(asked)) == f'ends after {len(data) - 1} of {len(data)} bytes'
    # A stream does not know its size when it begins.
    start = data.index(b'\x18\x53\x80\x67') + 4
    path.write_bytes(data[:start] + b'\x01' + 7 * b'\xff' + data[start + 8:-1])
    assert find_cut(str(path)) is None
    assert find_cut(str(tmp_path / 'z.mp4')) is None


@pytest.mark.parametrize('name', PLAYLISTS)
def test_playlists_do_not(name, tmp_path):
    path = tmp_path / 'x.mp4'
    text = PLAYLISTS[name].format(
        target='y.mp4', pad=' ' * 187, magic='\xdf\xa3').encode('latin1')
    path.write_bytes(text)
    beginning = text[:8]
    for asked in path, tmp_path / 'x':
        assert find_fault(
            str(asked)) == (f'is not a video: it begins with {beginning!r}')


def test_what_is_not_there_is_left_to_the_decoder(tmp_path):
    assert find_fault(str(tmp_path / 'x.mp4')) is None


def test_an_empty_file(tmp_path):
    (tmp_path / 'x.mp4').touch()
    assert find_fault(str(tmp_path / 'x.mp4')) == 'is an empty file'


@pytest.mark.parametrize('length',
                         [b'\x8c', b'\x40\x0c', b'\1' + bytes(6) + b'\x0c'])
def test_lengths_of_a_header(length, tmp_path):
    data = write(tmp_path / 'x.mkv', 'mp4v').read_bytes()
    start = data.index(b'\x18\x53\x80\x67')  # of what follows the header
    path = tmp_path / 'y.mkv'
    path.write_bytes(b'\x1aE\xdf\xa3' + length + b'\x42\x82\x89matroska\0' +
                     data[start:])
    assert find_fault(str(path)) is None


def test_what_opencv_cannot_open(tmp_path):
    path = write(tmp_path / 'x.mp4', 'mp4v')
    path.write_bytes(path.read_bytes()[:50])
    assert find_fault(str(path)) == 'cannot be decoded as a video'


def test_more_frames_than_bytes(tmp_path):
    path = write(tmp_path / 'x.mkv', 'mp4v')
    data = bytearray(path.read_bytes())
    duration = data.index(b'\x44\x89\x88') + 3
    data[duration:duration + 8] = struct.pack('>d', 1e12)
    path.write_bytes(data)
    assert find_fault(
        str(path)) == (f'claims 12000000000 frames in {len(data)} bytes')


def test_frames_too_large(tmp_path):
    path = str(write(tmp_path / 'x.avi', 'MJPG', (8192, 4096), 1))
    assert find_fault(path) == (
        'has frames of 8192 x 4096 pixels, more than 4096 x 4096: make them '
        'smaller')


def box(data, name):
    """A box of an MP4, with its length and its name."""
    start = data.index(name) - 4
    return data[start:start + int.from_bytes(data[start:start + 4], 'big')]


def two_tracks(first, second):
    """The MP4 of a video with the track of another behind its own."""
    end, start = first.index(b'moov') - 4, second.index(b'mdat') - 4
    track = bytearray(box(second, b'trak'))
    track[track.index(b'tkhd') + 19] = 2  # its number
    offsets = track.index(b'stco') + 12
    number = int.from_bytes(track[offsets - 4:offsets], 'big')
    for at in range(offsets, offsets + 4 * number, 4):
        offset = int.from_bytes(track[at:at + 4], 'big') + end - start
        track[at:at + 4] = offset.to_bytes(4, 'big')
    tracks = box(first, b'mvhd') + box(first, b'trak') + track
    return (first[:end] + box(second, b'mdat') +
            (8 + len(tracks)).to_bytes(4, 'big') + b'moov' + tracks)


def test_frames_of_another_track_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(containers, '_SIDE', 128)
    small, large = (write(tmp_path / f'{side}.mp4', 'mp4v', (side, side),
                          frames) for side, frames in ((64, 1), (256, 6)))
    path = tmp_path / 'two.mp4'
    path.write_bytes(two_tracks(small.read_bytes(), large.read_bytes()))
    assert find_fault(str(path)) is None
    open_clip = GuardedLoader(DecordInit(), refuse)
    assert open_clip(dict(filename=str(small)))['total_frames'] == 1
    with pytest.raises(BadClip, match='has frames of 256 x 256 pixels'):
        open_clip(dict(filename=str(path)))


def test_a_name_that_is_not_utf_8(tmp_path):
    path = write(tmp_path / 'x.mp4', 'mp4v').rename(tmp_path / 'x\udcff.mp4')
    assert find_fault(str(path)) == 'has a name that is not UTF-8: rename it'


@pytest.fixture
def server():
    """A server of this machine; what it is asked for is in its list."""

    class Handler(http.server.BaseHTTPRequestHandler):

        def do_GET(self):
            self.server.asked.append(self.path)
            self.send_error(404)

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.mark.parametrize('name', ['http:127.0.0.1:{}?x.avi', 'concat:3.avi'])
def test_a_name_is_no_address(name, server, tmp_path, monkeypatch):
    """A file of two frames, of which the address would have none or three."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / '3.avi', 'MJPG', frames=3)
    name = name.format(server.server_port)
    write(tmp_path / 'x.avi', 'MJPG', frames=2).rename(tmp_path / name)
    assert find_fault(name) is None
    assert len([*Video(name)]) == count_video_frames(name) == 2
    assert look(name).frames == 2
    assert not server.asked
