"""What a training logs, and tools/plot_logs.py."""
import re
import sys

import cv2
import pytest
from logs import write_log
from tensorboard.backend.event_processing import event_accumulator

from selfy_mmaction.evaluation.logs import load_curves


@pytest.fixture(scope='module')
def folder(tmp_path_factory, video_dir):
    """Four clips to train on and two to validate on, as the quickstart's."""
    folder = tmp_path_factory.mktemp('logged')
    data = folder / 'data/motion'
    data.mkdir(parents=True)
    (data / 'videos').symlink_to(video_dir)
    names = ['camera pans left', 'camera pans right', *map(str, range(6))]
    (data / 'classes.txt').write_text('\n'.join(names))
    for split, numbers in ('train', (0, 1)), ('val', (2, )):
        (data / f'{split}.txt').write_text(''.join(
            f'{side}{i}.mp4 {label}\n' for i in numbers
            for label, side in enumerate(('left', 'right'))))
    return folder


@pytest.fixture
def train(repo, load_tool, folder, monkeypatch, capfd):
    """Train for some epochs of two iterations and return the output."""

    def run(epochs, *args):
        monkeypatch.chdir(folder)
        monkeypatch.setattr(sys, 'argv', [
            'train.py', f'{repo}/configs/selfy_tsm_r18_motion.py',
            '--work-dir', 'run', *args, '--cfg-options',
            f'train_cfg.max_epochs={epochs}',
            'default_hooks.logger.interval=1', 'train_dataloader.batch_size=2',
            'train_dataloader.num_workers=0',
            'train_dataloader.persistent_workers=False',
            'val_dataloader.num_workers=0',
            'val_dataloader.persistent_workers=False'
        ])
        load_tool('train').main()
        return capfd.readouterr().out

    return run


def test_progress_is_logged_for_people_and_tensorboard(train, folder):
    out = train(1, '--tensorboard')
    lines = re.findall(r'Epoch\(train\).*', out)
    assert len(lines) == 2
    for i, line in enumerate(lines, 1):
        assert re.match(rf'Epoch\(train\) +\[1\]\[{i}/2\] ', line)
        assert re.search(r'eta: 0:00:\d\d ', line)
    events = event_accumulator.EventAccumulator(
        str(next(folder.glob('run/*/vis_data'))))
    events.Reload()
    for event, line in zip(events.Scalars('loss'), lines, strict=True):
        assert f' loss: {event.value:.4f} ' in line
    accuracy, = events.Scalars('acc/top1')
    assert f'acc/top1: {accuracy.value:.4f}' in out

    train(2, '--resume')
    curves = load_curves('run')
    assert curves['loss'].unit == 'iteration'
    assert curves['loss'].steps == [1, 2, 3, 4]
    assert curves['loss'].values[0] == pytest.approx(
        events.Scalars('loss')[0].value)
    assert curves['acc/top1'].unit == 'epoch'
    assert curves['acc/top1'].steps == [1, 2]


def test_tensorboard_that_is_missing_is_one_line(run_tool, repo, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    code = run_tool('train', repo / 'configs/selfy_tsm_r18_motion.py',
                    '--tensorboard')
    assert code.startswith('train.py: error: --tensorboard: ')
    assert code.endswith('pip install tensorboard')


def test_picture_of_several_trainings(load_tool, tmp_path, monkeypatch,
                                      capsys):
    dirs = [
        write_log(tmp_path / 'first', '20260101_100000', {
            20: 2.,
            40: 1.
        }, {
            1: .5,
            2: .75
        }),
        write_log(tmp_path / 'second', '20260101_100000', {
            20: 1.,
            40: .5
        }, {1: .75}),
    ]
    for count in 1, 2:
        path = tmp_path / f'new/{count}.png'
        monkeypatch.setattr(sys, 'argv',
                            ['plot_logs.py', *dirs[:count], '-o',
                             str(path)])
        load_tool('plot_logs').main()
        assert capsys.readouterr().out == f'Drew loss, acc/top1 to {path}.\n'
        assert count_colors(path) == count


def count_colors(path):
    """How many of Matplotlib's first two colours a picture has."""
    picture = cv2.imread(str(path)).reshape(-1, 3)[:, ::-1]
    return sum((picture == color).all(1).sum() > 100
               for color in ((31, 119, 180), (255, 127, 14)))


@pytest.mark.parametrize('args, message', [
    (['{tmp}/none'], '{tmp}/none holds no log of a training'),
    (['{run}', '--keys', 'los'], '--keys los was not logged: acc/top1, loss, '
     'lr were.'),
    (['{bad}'], 'line 1 of {bad}/20260101_100000/vis_data/scalars.json is '
     'not a log entry'),
])
def test_bad_input_is_one_line(run_tool, tmp_path, args, message):
    places = dict(
        tmp=tmp_path,
        run=write_log(tmp_path / 'run', '20260101_100000', {20: 2.}, {1: .5}),
        bad=write_log(
            tmp_path / 'bad', '20260101_100000', {}, {}, end='[1]\n'))
    code = run_tool('plot_logs', *(arg.format(**places) for arg in args))
    assert code.startswith('plot_logs.py: error: ' + message.format(**places))
