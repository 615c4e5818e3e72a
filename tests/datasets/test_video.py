"""The one decoder: which frames a file has, when, how large, and upright."""
import http.server
import os
import pickle
import re
import threading

import av
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from selfy_mmaction.datasets import video
from selfy_mmaction.datasets.video import SUFFIXES, VideoError, VideoFile

FRAMES, SIZE = 24, (48, 64)
X264 = {'g': '8', 'bf': '2', 'x264-params': 'scenecut=0'}


def picture(number, size=SIZE):
    """A grey frame, whose brightness tells its number; one corner is black."""
    frame = np.full((*size, 3), 20 + 8 * number, np.uint8)
    frame[:size[0] // 3, :size[1] // 3] = 0
    return frame


def numbers(frames):
    """The numbers of pictures, from the brightness of the lower right."""
    height, width = frames.shape[1:3]
    corner = frames[:, -(height // 3):, -(width // 3):]
    return np.rint((corner.mean((1, 2, 3)) - 20) / 8).astype(int).tolist()


def write(path,
          codec='libx264',
          options=X264,
          size=SIZE,
          pix_fmt='yuv420p',
          pts=range(FRAMES),
          shift=0,
          skip=0,
          **kwargs):
    """Write a video of 12 ticks per second, and return its file."""
    if codec not in av.codecs_available:
        pytest.skip(f'this build of FFmpeg cannot write {codec}')
    with av.open(str(path), 'w', **kwargs) as file:
        stream = file.add_stream(codec, rate=12, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        if codec.startswith('mpeg'):
            stream.bit_rate = 2_000_000
        packets = []
        for number, time in enumerate(pts):
            frame = av.VideoFrame.from_ndarray(picture(number, size))
            frame.pts = time
            packets += stream.encode(frame)
        for packet in (packets + stream.encode())[skip:]:
            step = int(1 / packet.time_base) // 12
            packet.pts, packet.dts = (
                x - shift * step for x in (packet.pts, packet.dts))
            file.mux(packet)
    return path


def encode(codec, **options):
    return dict(codec=codec, options=options)


FILES = {
    'x.mp4': {},
    'x.mov': {},
    'x.mkv': {},
    'x.flv': {},
    'x.ts': {},
    'x.3gp':
    encode('mpeg4', bf='2'),
    'b.avi':
    encode('mpeg4', bf='2', g='8'),
    'h.avi': {},
    'x.avi':
    encode('mpeg4', g='8'),
    'm.avi':
    dict(encode('mjpeg'), pix_fmt='yuvj420p'),
    'x.mpg':
    encode('mpeg2video', bf='2'),
    'x.m2ts':
    encode('mpeg2video', bf='2'),
    'x.wmv':
    encode('wmv2'),
    'x.webm':
    encode('libvpx-vp9', g='8'),
    # with frames that are only there to be referred to
    '8.webm':
    encode('libvpx', **{
        'auto-alt-ref': '1',
        'lag-in-frames': '16'
    }),
    'av1.mkv':
    encode('libsvtav1', preset='12'),
    '10.mkv':
    dict(
        encode('libx265', **{'x265-params': 'log-level=none'}),
        pix_fmt='yuv420p10le'),
    'x.gif':
    dict(encode('gif'), pix_fmt='rgb8'),
    'open.mp4':
    encode('libx264', **{'x264-params': 'open-gop=1:keyint=8'}),
    'fields.mp4':
    encode('libx264', flags='+ildct+ilme'),
    'odd.mp4':
    dict(size=(49, 65), pix_fmt='yuv444p'),
    'thin.mp4':
    dict(size=(300, 16)),
    'padded.mp4':
    dict(size=(96, 96)),
    'fragments.mp4':
    dict(container_options=dict(movflags='frag_keyframe+empty_moov')),
    # a browser's recording
    'no_duration.webm':
    dict(encode('libvpx', g='8'), container_options=dict(live='1')),
}


@pytest.mark.parametrize('name', FILES)
def test_every_frame_of_every_kind(name, tmp_path):
    path = write(tmp_path / name, **FILES[name])
    assert path.suffix in SUFFIXES
    with VideoFile(path) as clip:
        assert clip.size == FILES[name].get('size', SIZE)
        # GIF counts in hundredths of a second, Matroska in thousandths.
        np.testing.assert_allclose(
            clip.times, np.arange(FRAMES) / 12, atol=6e-3)
        assert clip.fps == pytest.approx(12, rel=0.01)
        frames = np.stack([*clip])
        assert frames.dtype == np.uint8
        assert numbers(frames) == [*range(FRAMES)]
        assert len(clip) == FRAMES
        for indices in [23, 3, 12, 3, 11], [9], [], [17, 18, 0]:
            np.testing.assert_array_equal(
                clip.frames(indices), frames[indices])


def test_tiny_and_single_frames(tmp_path):
    path = write(tmp_path / 'x.mp4', size=(2, 2), pts=[0])
    with VideoFile(path) as clip:
        assert clip.frames([0, 0]).shape == (2, 2, 2, 3)
        assert clip.times.tolist() == [0] and clip.fps == 1


def test_hidden_frames_do_not_count(tmp_path):
    """As in a clip that was cut without encoding it again."""
    path = write(tmp_path / 'x.mp4', shift=10)
    with av.open(str(path)) as file:
        assert any(x.is_discard for x in file.demux(video=0))
    with VideoFile(path) as clip:
        assert numbers(clip.frames(range(14))) == [*range(10, FRAMES)]
        assert len(clip) == 14 and clip.times[0] == 0
        assert clip.times[-1] == pytest.approx(13 / 12)


@pytest.mark.parametrize('skip', [1, 9])
def test_frames_before_the_first_key_frame(skip, tmp_path):
    path = write(tmp_path / 'x.mkv', skip=skip)
    with VideoFile(path) as clip:
        first = 8 if skip == 1 else 16
        assert numbers(np.stack([*clip])) == [*range(first, FRAMES)]
        assert clip.times[0] == 0


@pytest.mark.parametrize('name', ['x.mp4', 'x.mkv'])
def test_times_of_variable_rate(name, tmp_path):
    pts = [*range(10), *range(10, 50, 8), *range(60, 69)]
    with VideoFile(write(tmp_path / name, pts=pts)) as clip:
        np.testing.assert_allclose(clip.times, np.array(pts) / 12, atol=1e-3)
        assert numbers(clip.frames([12, 23])) == [12, 23]


def test_joined_recordings(tmp_path):
    """The second begins at time zero again, and has another size."""
    path = write(tmp_path / 'x.ts')
    second = write(tmp_path / 'y.ts', size=(96, 80))
    path.write_bytes(path.read_bytes() + second.read_bytes())
    with VideoFile(path) as clip:
        assert numbers(np.stack([*clip])) == 2 * [*range(FRAMES)]
        np.testing.assert_allclose(
            clip.times, np.arange(2 * FRAMES) / 12, atol=1e-3)
        assert clip.size == SIZE


@pytest.mark.parametrize('matrix, turn', [
    ((1, 0, 0, 1), lambda x: x),
    ((0, 1, -1, 0), lambda x: np.rot90(x, -1)),
    ((0, -1, 1, 0), np.rot90),
    ((-1, 0, 0, -1), lambda x: x[::-1, ::-1]),
    ((-1, 0, 0, 1), lambda x: x[:, ::-1]),
    ((0, 1, 1, 0), lambda x: x.swapaxes(0, 1)),
])
def test_phones_are_held_upright(matrix, turn, tmp_path):
    path = write(tmp_path / 'x.mp4')
    with VideoFile(path) as clip:
        coded, = clip.frames([5])
    data = bytearray(path.read_bytes())
    at = data.index(b'tkhd') + 44
    for place, value in zip((0, 4, 12, 16), matrix, strict=True):
        data[at + place:at + place + 4] = (value * 2**16).to_bytes(
            4, 'big', signed=True)
    path.write_bytes(data)
    with VideoFile(path) as clip:
        shown, = clip.frames([5])
        assert clip.size == shown.shape[:2]
        np.testing.assert_array_equal(shown, turn(coded))


@pytest.mark.parametrize('default, expected', [('0', 96), ('01', 96),
                                               ('1', 48), ('', 96)])
def test_one_of_two_tracks(default, expected, tmp_path):
    """The default one, else the larger one, as the ffmpeg command."""
    path = tmp_path / 'x.mkv'
    with av.open(str(path), 'w') as file:
        streams = [file.add_stream('mjpeg', rate=12) for _ in range(2)]
        for number, (stream,
                     side) in enumerate(zip(streams, (96, 48), strict=True)):
            stream.width = stream.height = side
            stream.pix_fmt = 'yuvj420p'
            stream.disposition = av.stream.Disposition(str(number) in default)
        for stream in streams:
            frame = av.VideoFrame.from_ndarray(picture(0, (96, 96)))
            file.mux(stream.encode(frame))
            file.mux(stream.encode())
    with VideoFile(path) as clip:
        assert clip.size == (expected, expected)


def test_titles_need_not_be_utf_8(tmp_path):
    path = tmp_path / 'x.mkv'
    write(path)
    data = path.read_bytes()
    assert b'Lavf' in data
    path.write_bytes(data.replace(b'Lavf', b'\xe9\xff\xfe\xe9'))
    with VideoFile(path) as clip:
        assert len(clip) == FRAMES


def test_names_of_any_kind(tmp_path):
    path = tmp_path / "it's a %d\n\udcff.mp4"
    write(tmp_path / 'x.mp4').rename(path)
    with VideoFile(path) as clip:
        assert len(clip) == FRAMES


def cut(data):
    """Leave the first half."""
    return data[:len(data) // 2]


def noise(data):
    """Replace the frames by noise."""
    start, end = data.index(b'mdat') + 4, data.index(b'moov') - 4
    return data[:start] + np.random.default_rng(0).bytes(end -
                                                         start) + data[end:]


def unknown(data):
    """Name a codec that does not exist."""
    return data.replace(b'avc1', b'zzzz').replace(b'avcC', b'zzzC')


@pytest.mark.parametrize('damage, fault', [
    (lambda _: b'', 'is an empty file'),
    (lambda _: b'<!DOCTYPE html>\n',
     r"is not a video, or is damaged: it begins with b'<!DOCTYP'"),
    (cut, r'is not a video, or is damaged: it begins with .*'),
    (unknown, 'holds no video'),
    (noise, r'\(h264 in mov\) (has no frame that can be decoded|lacks frame '
     r'\d+ of 24): `ffmpeg -i \S+/x.mp4 -c:v libx264 repaired.mp4` may help'),
])
def test_damaged_files(damage, fault, tmp_path):
    path = write(tmp_path / 'x.mp4')
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(VideoError) as error:
        VideoFile(path).frames(range(FRAMES))
    assert re.fullmatch(f'{re.escape(str(path))} {fault}.', str(error.value))


def test_a_damaged_frame(tmp_path):
    path = write(tmp_path / 'x.mov', 'mjpeg', {}, pix_fmt='yuvj420p')
    with av.open(str(path)) as file:
        packet = [*file.demux(video=0)][5]
        place, size = packet.pos, packet.size
    data = path.read_bytes()
    path.write_bytes(data[:place] + bytes(size) + data[place + size:])
    with VideoFile(path) as clip:
        for _ in range(2):
            assert numbers(clip.frames([4, 6])) == [4, 6]
            with pytest.raises(VideoError, match='lacks frame 5 of 24'):
                clip.frames([4, 5])


@pytest.mark.parametrize('name', ['x.mp4', 'x.mkv', 'm.avi', 'x.ts', 'x.webm'])
def test_files_cut_short_are_shorter(name, tmp_path):
    options = FILES[name]
    if name == 'x.mp4':  # with its index at the beginning
        options = dict(container_options=dict(movflags='faststart'))
    path = write(tmp_path / name, **options)
    with av.open(str(path)) as file:
        packet = [*file.demux(video=0)][16]
        end = packet.pos + packet.size // 2
    path.write_bytes(path.read_bytes()[:end])
    with VideoFile(path) as clip:
        frames = np.stack([*clip])
        assert 14 <= len(frames) == len(clip) <= 17
        # The last one may be half a frame.
        assert numbers(frames[:-1]) == [*range(len(clip) - 1)]


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / 'pipe.mp4')
    with pytest.raises(FileNotFoundError, match='does not exist'):
        VideoFile(tmp_path / 'x.mp4')
    for name in '', 'pipe.mp4':
        with pytest.raises(VideoError, match='is not a file'):
            VideoFile(tmp_path / name)


def test_sound_is_no_video(tmp_path):
    path = tmp_path / 'x.mov'
    with av.open(str(path), 'w') as file:
        stream = file.add_stream('pcm_s16le', rate=8000, layout='mono')
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 8000), np.int16), 's16', 'mono')
        frame.rate = 8000
        file.mux(stream.encode(frame))
    with pytest.raises(VideoError, match='x.mov holds no video.$'):
        VideoFile(path)


@pytest.mark.parametrize('name', ['x.mp4', 'x.ts', 'm.avi'])
def test_frames_too_large(name, tmp_path, monkeypatch):
    path = write(tmp_path / name, **FILES[name])
    monkeypatch.setattr(video, '_SIDE', 50)
    with pytest.raises(VideoError) as error:
        VideoFile(path)
    assert 'has frames of 64 x 48 pixels, more than 50 x 50: `ffmpeg -i' in (
        str(error.value))


def test_frames_that_become_too_large(tmp_path, monkeypatch):
    monkeypatch.setattr(video, '_SIDE', 64)
    path = write(tmp_path / 'x.ts')
    second = write(tmp_path / 'y.ts', size=(96, 80))
    path.write_bytes(path.read_bytes() + second.read_bytes())
    with VideoFile(path) as clip:
        assert len(clip) == FRAMES


def test_indices_out_of_range(tmp_path):
    with VideoFile(write(tmp_path / 'x.mp4')) as clip:
        for index in -1, FRAMES:
            with pytest.raises(IndexError, match=f'0 to 23, but not {index}'):
                clip.frames([0, index])


# What FFmpeg takes for videos, and would open other files or addresses for.
PLAYLISTS = {
    'HLS': '#EXTM3U\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n',
    'concat': "ffconcat version 1.0\nfile '{target}'\n",
    'SDP': 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\n'
    'm=video 5004 RTP/AVP 96\n',
    'DASH': '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
    '<Period><BaseURL>{target}</BaseURL></Period></MPD>\n',
    'of another box': '\n\n\n\nftypjp2 \nc=IN IP4 127.0.0.1\n',
    'of Matroska': '\x1aE\xdf\xa3\nc=IN IP4 127.0.0.1\nwebm\nv=0\n',
    'image sequence': 'image2\n%d.png\n',
}


@pytest.mark.parametrize('ending', ['mp4', 'm3u8', 'txt'])
@pytest.mark.parametrize('kind', PLAYLISTS)
def test_playlists_are_refused(kind, ending, tmp_path):
    write(tmp_path / 'y.mp4')
    path = tmp_path / f'x.{ending}'
    path.write_bytes(PLAYLISTS[kind].format(target='y.mp4').encode('latin1'))
    with pytest.raises(VideoError, match='is not a video, or is damaged'):
        VideoFile(path)


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


@pytest.mark.parametrize('name', ['http:127.0.0.1:{}?x.mp4', 'concat:y.mp4'])
def test_a_name_is_no_address(name, server, tmp_path, monkeypatch):
    """A file of two frames, of which the address would have none or 24."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'y.mp4')
    name = name.format(server.server_port)
    write(tmp_path / 'x.mp4', pts=range(2)).rename(tmp_path / name)
    with VideoFile(name) as clip:
        assert len(clip) == 2
    assert not server.asked


@pytest.mark.parametrize('sampler', [
    dict(type='SampleFrames', clip_len=1, num_clips=8, test_mode=True),
    dict(type='DenseSampleFrames', clip_len=4, frame_interval=2, num_clips=2),
    dict(type='UntrimmedSampleFrames', clip_len=1, clip_interval=6),
])
def test_transforms(sampler, tmp_path):
    init_default_scope('mmaction')
    pts = [*range(0, 40, 2), *range(60, 64)]
    write(tmp_path / 'x.mp4', pts=pts)
    pipeline = Compose(
        [dict(type='VideoInit'), sampler,
         dict(type='VideoDecode')])
    # A name without its ending is one of MMAction2's lists.
    results = pipeline(
        dict(filename=str(tmp_path / 'x'), start_index=0, modality='RGB'))
    assert results['total_frames'] == FRAMES
    assert results['avg_fps'] == pytest.approx(23 / (63 / 12))
    assert numbers(np.stack(results['imgs'])) == [*results['frame_inds']]
    np.testing.assert_allclose(
        results['frame_times'],
        np.array(pts)[results['frame_inds']] / 12,
        atol=1e-3)
    assert results['original_shape'] == results['img_shape'] == SIZE
    pickle.dumps(results)  # the open video stays in its process
