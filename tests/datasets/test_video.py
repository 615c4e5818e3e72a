"""The one decoder: which frames a file has, when, how large, and upright."""
import os
import pickle
import re

import av
import numpy as np
import pytest
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from selfy_mmaction.datasets import video
from selfy_mmaction.datasets.video import SUFFIXES, VideoError, VideoFile

FRAMES, SIZE = 24, (48, 64)
VARIABLE = [*range(10), *range(10, 50, 8), *range(60, 69)]
X264 = 'libx264 g=8 bf=2 x264-params=scenecut=0'


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


def parse(options):
    return dict(option.split('=', 1) for option in options)


def write(path,
          encoder=X264,
          size=SIZE,
          pix_fmt=None,
          pts=range(FRAMES),
          shift=0,
          skip=0,
          muxer=''):
    """Write a video of 12 ticks per second, and return its file."""
    codec, *options = encoder.split()
    if codec not in av.codecs_available:
        pytest.skip(f'this build of FFmpeg cannot write {codec}')
    with av.open(
            str(path), 'w', container_options=parse(muxer.split())) as file:
        stream = file.add_stream(codec, 12, options=parse(options))
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt or stream.codec.video_formats[0].name
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


@pytest.mark.parametrize('name, encoder, options', [
    ('x.mp4', X264, {}),
    ('x.mkv', X264, {}),
    ('x.flv', X264, {}),
    ('x.ts', X264, {}),
    ('h.avi', X264, {}),
    ('x.3gp', 'mpeg4 b=2M bf=2', {}),
    ('b.avi', 'mpeg4 b=2M bf=2 g=8', {}),
    ('x.avi', 'mpeg4 b=2M g=8', {}),
    ('m.avi', 'mjpeg', {}),
    ('x.mpg', 'mpeg2video b=2M bf=2', {}),
    ('x.wmv', 'wmv2', {}),
    ('x.webm', 'libvpx-vp9 g=8', {}),
    ('hidden_frames.webm', 'libvpx auto-alt-ref=1 lag-in-frames=16', {}),
    ('av1.mkv', 'libsvtav1 preset=12', {}),
    ('10.mkv', 'libx265 x265-params=log-level=none',
     dict(pix_fmt='yuv420p10le')),
    ('x.gif', 'gif', dict(pix_fmt='rgb8')),
    ('open.mp4', 'libx264 x264-params=open-gop=1:keyint=8', {}),
    ('fields.mp4', 'libx264 flags=+ildct+ilme', {}),
    ('odd.mp4', X264, dict(size=(49, 65), pix_fmt='yuv444p')),
    ('thin.mp4', X264, dict(size=(300, 16))),
    ('fragments.mp4', X264, dict(muxer='movflags=frag_keyframe+empty_moov')),
    ('of_a_browser.webm', 'libvpx g=8', dict(muxer='live=1')),
])
def test_every_frame_of_every_kind(name, encoder, options, tmp_path):
    path = write(tmp_path / name, encoder, **options)
    assert path.suffix in SUFFIXES
    with VideoFile(path) as clip:
        assert clip.size == options.get('size', SIZE)
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
        for index in -1, FRAMES:
            with pytest.raises(IndexError, match=f'0 to 23, but not {index}'):
                clip.frames([0, index])


def test_tiny_and_single_frames(tmp_path):
    path = write(tmp_path / 'x.mp4', size=(2, 2), pts=[0])
    with VideoFile(path) as clip:
        assert clip.frames([0, 0]).shape == (2, 2, 2, 3)
        assert clip.times.tolist() == [0] and clip.fps == 1


@pytest.mark.parametrize(
    'name, options, shown',
    [
        # a clip that was cut without encoding it again
        ('x.mp4', dict(shift=10), range(10, FRAMES)),
        # without the frames before the first key frame
        ('x.mkv', dict(skip=1), range(8, FRAMES)),
        ('x.mkv', dict(skip=9), range(16, FRAMES)),
        ('x.mp4', dict(pts=VARIABLE), range(FRAMES)),
        ('x.mkv', dict(pts=VARIABLE), range(FRAMES)),
    ])
def test_which_frames_are_shown_and_when(name, options, shown, tmp_path):
    with VideoFile(write(tmp_path / name, **options)) as clip:
        assert numbers(np.stack([*clip])) == [*shown]
        assert numbers(clip.frames([5, 2])) == [shown[5], shown[2]]
        ticks = np.array(options.get('pts', range(FRAMES)))[shown]
        np.testing.assert_allclose(
            clip.times, (ticks - ticks[0]) / 12, atol=1e-3)


def test_joined_recordings_and_frames_too_large(tmp_path, monkeypatch):
    """The second begins at time zero again, and has another size."""
    path, second = tmp_path / 'x.ts', tmp_path / 'y.ts'
    write(path), write(second, size=(96, 80))
    path.write_bytes(path.read_bytes() + second.read_bytes())
    with VideoFile(path) as clip:
        assert numbers(np.stack([*clip])) == 2 * [*range(FRAMES)]
        np.testing.assert_allclose(
            clip.times, np.arange(2 * FRAMES) / 12, atol=1e-3)
        assert clip.size == SIZE
    monkeypatch.setattr(video, '_SIDE', 64)
    with VideoFile(path) as clip:  # without the second
        assert len(clip) == FRAMES
    monkeypatch.setattr(video, '_SIDE', 50)
    message = 'frames of 64 x 48 pixels, more than 50 x 50: `ffmpeg -i'
    with pytest.raises(VideoError, match=message):
        VideoFile(path)


@pytest.mark.parametrize('matrix, turn', [
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
        for number, side in enumerate((96, 48)):
            stream = file.add_stream('mjpeg', rate=12)
            stream.width = stream.height = side
            stream.pix_fmt = 'yuvj420p'
            stream.disposition = av.stream.Disposition(str(number) in default)
        for stream in file.streams:
            frame = av.VideoFrame.from_ndarray(picture(0, (96, 96)))
            file.mux([*stream.encode(frame), *stream.encode()])
    with VideoFile(path) as clip:
        assert clip.size == (expected, expected)


def test_names_of_any_kind_and_titles_that_are_not_utf_8(tmp_path):
    data = write(tmp_path / 'x.mkv').read_bytes()
    assert b'Lavf' in data
    path = tmp_path / "it's a %d\n\udcff.mkv"
    path.write_bytes(data.replace(b'Lavf', b'\xe9\xff\xfe\xe9'))
    with VideoFile(path) as clip:
        assert len(clip) == FRAMES


def noise(data):
    """Replace the frames by noise."""
    start, end = data.index(b'mdat') + 4, data.index(b'moov') - 4
    bytes = np.random.default_rng(0).bytes(end - start)
    return data[:start] + bytes + data[end:]


def unknown(data):
    """Name a codec that does not exist."""
    return data.replace(b'avc1', b'zzzz').replace(b'avcC', b'zzzC')


@pytest.mark.parametrize('damage, fault', [
    (lambda _: b'', 'is an empty file'),
    (lambda _: b'<!DOCTYPE html>\n',
     r"is not a video, or is damaged: it begins with b'<!DOCTYP'"),
    (lambda data: data[:len(data) // 2],
     r'is not a video, or is damaged: it begins with .*'),
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
    path = write(tmp_path / 'x.mov', 'mjpeg')
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


@pytest.mark.parametrize('name, encoder, options', [
    ('x.mp4', X264, dict(muxer='movflags=faststart')),
    ('x.mkv', X264, {}),
    ('x.avi', 'mjpeg', {}),
    ('x.ts', X264, {}),
    ('x.webm', 'libvpx-vp9 g=8', {}),
])
def test_files_cut_short_are_shorter(name, encoder, options, tmp_path):
    path = write(tmp_path / name, encoder, **options)
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


# What FFmpeg takes for videos, and would open other files or addresses for.
@pytest.mark.parametrize('playlist', [
    '#EXTM3U\n#EXTINF:1,\ny.mp4\n#EXT-X-ENDLIST\n',
    "ffconcat version 1.0\nfile 'y.mp4'\n",
    'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\n'
    'm=video 5004 RTP/AVP 96\n',
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011">'
    '<Period><BaseURL>y.mp4</BaseURL></Period></MPD>\n',
    '\n\n\n\nftypjp2 \nc=IN IP4 127.0.0.1\n',
    '\x1aE\xdf\xa3\nc=IN IP4 127.0.0.1\nwebm\nv=0\n',
    'image2\n%d.png\n',
])
def test_playlists_are_refused(playlist, tmp_path):
    write(tmp_path / 'y.mp4')
    for ending in 'mp4', 'm3u8', 'txt':
        path = tmp_path / f'x.{ending}'
        path.write_bytes(playlist.encode('latin1'))
        with pytest.raises(VideoError, match='is not a video, or is damaged'):
            VideoFile(path)


@pytest.mark.parametrize('name', ['http:127.0.0.1:1?x.mp4', 'concat:y.mp4'])
def test_a_name_is_no_address(name, tmp_path, monkeypatch):
    """A file of two frames, of which the address would have none or 24."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / 'y.mp4')
    write(tmp_path / 'x.mp4', pts=range(2)).rename(tmp_path / name)
    with VideoFile(name) as clip:
        assert len(clip) == 2


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
