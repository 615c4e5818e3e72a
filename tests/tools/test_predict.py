"""tools/predict.py."""
import json
import shutil

import cv2
import numpy as np
import pytest

from selfy_mmaction import apis
from selfy_mmaction.apis.video import Video
from selfy_mmaction.visualization.frames import draw_label


@pytest.fixture
def predict(run_tool, trained, capsys):
    """Run predict.py on a video and return its code, output and errors."""

    def run(video, *args):
        code = run_tool('predict', video, trained.config, trained.checkpoint,
                        '--device', 'cpu', *args, '--cfg-options',
                        *trained.options)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_table_of_a_video(predict, video_dir, class_names):
    video = video_dir / 'left0.mp4'
    code, out, _ = predict(video, '--topk', '2')
    assert not code
    first, *lines = out.splitlines()
    assert first == str(video)
    scores, names = zip(*(line.split('%  ') for line in lines), strict=True)
    assert 100 > float(scores[0]) >= float(scores[1]) > 0
    # the names that the training kept in the checkpoint
    assert set(names) < set(class_names)


def test_json_of_a_folder_is_all_of_the_output(predict, video_dir, tmp_path):
    folder = tmp_path / 'videos'
    folder.mkdir()
    for name in 'right0.mp4', 'left0.mp4', 'notes.txt':
        shutil.copy(video_dir / name, folder)
    labels = tmp_path / 'labels.txt'
    labels.write_text(''.join(f'name {i}\n' for i in range(174)))
    code, out, _ = predict(folder, '--json', '--labels', labels, '--topk',
                           '200')
    assert not code
    answers = json.loads(out)
    assert [a['video'] for a in answers
            ] == [str(folder / 'left0.mp4'),
                  str(folder / 'right0.mp4')]
    for answer in answers:
        scores = [p['score'] for p in answer['predictions']]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1)
        assert all(p['name'] == f'name {p["label"]}'
                   for p in answer['predictions'])


def test_broken_videos_are_named_and_passed_over(predict, video_dir, tmp_path):
    folder = tmp_path / 'mixed'
    folder.mkdir()
    shutil.copy(video_dir / 'left0.mp4', folder / 'b.mp4')
    whole = (folder / 'b.mp4').read_bytes()
    (folder / 'a.mp4').write_bytes(whole[:9000])
    (folder / 'c.mp4').write_text('Not a video.')
    (folder / 'd.webm').touch()
    code, out, err = predict(folder, '--json')
    assert code == 1
    assert [a['video'] for a in json.loads(out)] == [str(folder / 'b.mp4')]
    errors = [line for line in err.splitlines() if 'error:' in line]
    assert [line.split(': ')[2] for line in errors] == [
        f'{folder / "a.mp4"} is not a video, or is damaged',
        f'{folder / "c.mp4"} is not a video, or is damaged',
        f'{folder / "d.webm"} is an empty file.'
    ]


@pytest.fixture
def see(run_tool, published, capsys):
    """Predict with that network; return the code, output and errors."""

    def run(video, *args):
        code = run_tool('predict', video, *published, '--device', 'cpu', *args)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_sliding_window_sees_the_camera_turn(see, turn, tmp_path):
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

    frames, labelled = list(Video(str(turn))), list(Video(str(drawn)))
    assert len(labelled) == len(frames) == 34
    for i, row in ((0, rows[0]), (33, rows[-1])):
        score, name = row.split('%  ')
        expected = draw_label(frames[i], f'{name} {float(score):.0f}%')
        # Another label, or none, makes 4 and more on the lowest lines.
        assert labelled[i].shape == expected.shape
        error = np.abs(labelled[i] - expected.astype(float))[-24:]
        assert error.mean() < 3
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


def test_short_video_has_one_window(see, turn, tmp_path):
    code, out, _ = see(turn, '--window', 60)
    assert not code
    _, line = out.splitlines()
    assert line.split()[:3] == ['0.00', '-', '2.83']


def test_interrupted_camera_leaves_what_it_has_seen(see, turn, tmp_path,
                                                    monkeypatch):

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
    frames, labelled = list(Video(str(turn))), list(Video(str(drawn)))
    assert len(labelled) == 34
    score = lines[0].split()[-4].rstrip('%')
    for i, label in (0, ''), (20, f'camera pans right {float(score):.0f}%'):
        expected = draw_label(frames[i], label).astype(float)
        assert np.abs(labelled[i] - expected)[-24:].mean() < 4
    assert timeline.stat().st_size > 1000


def test_folder_has_a_line_per_video(see, video_dir, tmp_path):
    folder = tmp_path / 'videos'
    folder.mkdir()
    for name in 'right0.mp4', 'left0.mp4':
        shutil.copy(video_dir / name, folder)
    (folder / 'b.webm').write_text('Not a video.')
    code, out, err = see(folder, '--out', tmp_path / 'drawn')
    assert code == 1 and 'WARNING' not in err
    drawn = tmp_path / 'drawn'
    assert err.endswith(
        f'Wrote {drawn / "left0.mp4"}.\nWrote {drawn / "right0.mp4"}.\n')
    assert err.count(f'error: {folder / "b.webm"} is not a video') == 1
    lines = [line.split('%  ') for line in out.splitlines()]
    assert len(lines[0][0]) == len(lines[1][0])
    assert [name
            for _, name in lines] == ['camera pans left', 'camera pans right']
    assert [start.split()[0] for start, _ in lines
            ] == [str(folder / name) for name in ('left0.mp4', 'right0.mp4')]
    assert [p.name
            for p in sorted(drawn.iterdir())] == ['left0.mp4', 'right0.mp4']
    assert Video(str(drawn / 'left0.mp4')).total_frames == 17


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


@pytest.mark.parametrize('args, message', [
    (['99'], 'camera 99 cannot be opened: connect one, or give its index'),
    (['no.mp4', '--window', '2'], 'video no.mp4 does not exist.'),
    (['no.mp4', '--stride', '2'], '--stride needs --window SECONDS.'),
    (['no.mp4', '--timeline', 'a'], '--timeline needs --window SECONDS.'),
    (['no.mp4', '--window', '0'], '--window 0: give a positive number.'),
    (['no.mp4', '--topk', '-1'], '--topk -1: give a positive number.'),
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
