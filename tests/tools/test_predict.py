"""tools/predict.py, with the published network."""
import json
import shutil

import cv2
import numpy as np
import pytest

from selfy_mmaction import apis
from selfy_mmaction.apis.video import Video
from selfy_mmaction.visualization.frames import draw_label


@pytest.fixture
def see(run_tool, published, capsys):
    """Predict on a video; return the code, output and errors."""

    def run(video, *args):
        code = run_tool('predict', video, *published, '--device', 'cpu', *args)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def check_frame(turn):
    """Check a frame of the video with a label, as it was written."""
    frames = list(Video(str(turn)))

    def check(labelled, i, name='', score='0'):
        label = f'{name} {float(score.rstrip("%")):.0f}%' if name else ''
        expected = draw_label(frames[i], label)
        assert labelled[i].shape == expected.shape
        # Another label, or none, makes 4 and more on the lowest lines.
        error = np.abs(labelled[i] - expected.astype(float))[-24:]
        assert error.mean() < 3

    return check


def test_table_of_a_video(see, video_dir):
    video = video_dir / 'left0.mp4'
    code, out, _ = see(video, '--topk', '2')
    assert not code
    first, *lines = out.splitlines()
    assert first == str(video)
    scores, names = zip(*(line.split('%  ') for line in lines), strict=True)
    assert 100 > float(scores[0]) >= float(scores[1]) > 0
    # the names that the training kept in the checkpoint
    assert names[0] == 'camera pans left' and len(names) == 2


def test_videos_of_a_folder(see, video_dir, tmp_path):
    """A line or an object each; broken ones are named and passed over."""
    folder, drawn = tmp_path / 'videos', tmp_path / 'drawn'
    folder.mkdir()
    names = 'left0.mp4', 'right0.mp4'
    for name in *names, 'notes.txt':
        shutil.copy(video_dir / name, folder)
    whole = (folder / 'left0.mp4').read_bytes()
    (folder / 'a.mp4').write_bytes(whole[:9000])
    (folder / 'b.webm').write_text('Not a video.')
    (folder / 'c.webm').touch()
    code, out, err = see(folder, '--out', drawn)
    assert code == 1 and 'WARNING' not in err
    *errors, first, second = err.splitlines()
    assert [first, second] == [f'Wrote {drawn / name}.' for name in names]
    assert [x.split(': ')[2] for x in errors if 'error: ' in x] == [
        f'{folder / "a.mp4"} is not a video, or is damaged',
        f'{folder / "b.webm"} is not a video, or is damaged',
        f'{folder / "c.webm"} is an empty file.'
    ]
    (left, name_l), (right, name_r) = (
        x.split('%  ') for x in out.splitlines())
    assert len(left) == len(right)
    assert (name_l, name_r) == ('camera pans left', 'camera pans right')
    assert [left.split()[0],
            right.split()[0]] == [str(folder / name) for name in names]
    assert sorted(path.name for path in drawn.iterdir()) == [*names]
    assert Video(str(drawn / 'left0.mp4')).total_frames == 17

    labels = tmp_path / 'labels.txt'
    labels.write_text(''.join(f'name {i}\n' for i in range(8)))
    code, out, _ = see(folder, '--json', '--labels', labels, '--topk', 200)
    assert code == 1
    answers = json.loads(out)
    assert [x['video'] for x in answers] == [str(folder / x) for x in names]
    for answer in answers:
        scores = [p['score'] for p in answer['predictions']]
        assert len(scores) == 8 and scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1)
        assert all(p['name'] == f'name {p["label"]}'
                   for p in answer['predictions'])


def test_folders_of_classes_are_entered(see, video_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sources = [tmp_path / 'clips' / side / 'a.mp4' for side in ('b', 'c d')]
    for source in sources:
        source.parent.mkdir(parents=True)
        shutil.copy(video_dir / 'left0.mp4', source)
    (tmp_path / 'clips/b/.trash').mkdir()
    shutil.copy(sources[0], tmp_path / 'clips/b/.trash')
    (tmp_path / 'clips/c d/round').symlink_to(tmp_path / 'clips')
    for _ in range(2):  # once more, beside what was drawn
        code, out, err = see('clips', '--out', 'clips/drawn')
        assert not code
        assert [line.split('.mp4')[0]
                for line in out.splitlines()] == ['clips/b/a', 'clips/c d/a']
        assert err.endswith('Wrote clips/drawn/b/a.mp4.\n'
                            'Wrote clips/drawn/c d/a.mp4.\n')
    drawn = (tmp_path / 'clips/drawn').rglob('*.mp4')
    assert {str(path.relative_to(tmp_path))
            for path in drawn
            } == {'clips/drawn/b/a.mp4', 'clips/drawn/c d/a.mp4'}


def test_sliding_window_sees_the_camera_turn(see, turn, check_frame, tmp_path):
    args = ['--window', 17 / 12, '--stride', .5]
    drawn, timeline = tmp_path / 'a/drawn.mp4', tmp_path / 'b/line.png'
    code, out, err = see(turn, *args, '--out', drawn, '--timeline', timeline)
    assert not code and 'WARNING' not in err
    assert err.endswith(f'Wrote {timeline}.\nWrote {drawn}.\n')
    first, *lines = out.splitlines()
    assert first == str(turn)
    # The last window ends with the video.
    times, rows = zip(*(line.split(' s ') for line in lines), strict=True)
    assert [time.split() for time in times] == [['0.00', '-', '1.42'],
                                                ['0.50', '-', '1.92'],
                                                ['1.00', '-', '2.42'],
                                                ['1.42', '-', '2.83']]
    assert rows[0].split('%  ')[1] == 'camera pans right'
    assert rows[-1].split('%  ')[1] == 'camera pans left'

    labelled = list(Video(str(drawn)))
    assert len(labelled) == 34
    for i, row in ((0, rows[0]), (33, rows[-1])):
        score, name = row.split('%  ')
        check_frame(labelled, i, name, score)
    picture = cv2.imread(str(timeline))
    # the colours of at least three classes, axes and text
    assert min(picture.shape[:2]) > 200 and len(np.unique(picture)) > 30

    code, out, _ = see(turn, *args, '--topk', 3, '--json')
    (answer, ) = json.loads(out)
    assert answer['video'] == str(turn)
    for segment, row in zip(answer['segments'], rows, strict=True):
        assert len(segment['predictions']) == 3
        best = segment['predictions'][0]
        assert row.strip() == f'{best["score"]:.2%}  {best["name"]}'


def test_interrupted_camera_leaves_what_it_has_seen(see, turn, check_frame,
                                                    tmp_path, monkeypatch):

    class Camera(Video):
        """The video, of unknown length, and an interrupt at its end."""

        def __init__(self, source):
            super().__init__(str(turn))
            self.source, self.is_camera = source, True
            self.times = None

        def __iter__(self):
            yield from self._frames
            raise KeyboardInterrupt

    monkeypatch.setattr(apis.video, 'Video', Camera)
    drawn, timeline = tmp_path / 'drawn.webm', tmp_path / 'line.png'
    code, out, _ = see('0', '--window', 17 / 12, '--stride', 17 / 12, '--out',
                       drawn, '--timeline', timeline)
    assert not code
    first, *lines = out.splitlines()
    assert first == '0'
    assert [line.split('%  ')[1]
            for line in lines] == ['camera pans right', 'camera pans left']
    # each with the newest label, none at first
    labelled = list(Video(str(drawn)))
    assert len(labelled) == 34
    check_frame(labelled, 0)
    check_frame(labelled, 20, 'camera pans right', lines[0].split()[-4])
    assert timeline.stat().st_size > 1000


@pytest.mark.parametrize('args, message', [
    (['99'], 'camera 99 cannot be opened: connect one, or give its index'),
    (['no.mp4', '--stride', '2'], '--stride needs --window SECONDS.'),
    (['no.mp4', '--window', '0'], '--window 0: give a positive number.'),
    (['no.mp4', '--out', 'a.avi'], 'video a.avi cannot be written: give it '
     'the ending .mp4, .webm or .gif.'),
    (['0', '--out', 'a.gif'], '--out a.gif: a GIF is written at the end'),
    (['no.mp4', '--show'], '--show needs a display, and there is none.'),
    (['{turn}', '--out', '{turn}'], '--out {turn} is the video itself'),
    (['{nothing}'], 'folder {nothing} holds no video (.3g2, '),
])
def test_bad_input_is_one_line(see, turn, tmp_path, monkeypatch, args,
                               message):
    for variable in 'DISPLAY', 'WAYLAND_DISPLAY':
        monkeypatch.delenv(variable, raising=False)
    places = dict(turn=turn, nothing=tmp_path / 'nothing')
    places['nothing'].mkdir()
    code, _, err = see(*(arg.format(**places) for arg in args))
    lines = [code] if isinstance(code, str) else [
        line for line in err.splitlines() if 'error: ' in line
    ]
    assert code and len(lines) == 1
    assert lines[0].startswith('predict.py: error: ' +
                               message.format(**places))
