"""What a training logs, and tools/plot_logs.py."""
import re
import sys

import cv2
import pytest
from logs import write_log
from tensorboard.backend.event_processing import event_accumulator

from selfy_mmaction.evaluation.logs import load_curves


def test_progress_is_logged_for_people_and_tensorboard(repo, load_tool,
                                                       motion_options,
                                                       tmp_path, monkeypatch,
                                                       capfd):
    monkeypatch.chdir(tmp_path)
    options = [
        f'{split}_dataloader.{setting}' for split in ('train', 'val')
        for setting in ('num_workers=0', 'persistent_workers=False')
    ]

    def train(epochs, *args):
        """Train for some epochs of four iterations; return the output."""
        monkeypatch.setattr(sys, 'argv', [
            'train.py', f'{repo}/configs/selfy_tsm_r18_motion.py',
            '--work-dir', 'run', *args, '--cfg-options', *motion_options,
            *options, f'train_cfg.max_epochs={epochs}'
        ])
        load_tool('train').main()
        return capfd.readouterr().out

    out = train(1, '--tensorboard')
    lines = re.findall(r'Epoch\(train\).*', out)
    events = event_accumulator.EventAccumulator(
        str(next(tmp_path.glob('run/*/vis_data'))))
    events.Reload()
    losses = [event.value for event in events.Scalars('loss')]
    assert len(lines) == 4
    for i, (line, loss) in enumerate(zip(lines, losses, strict=True), 1):
        assert re.match(rf'Epoch\(train\) +\[1\]\[{i}/4\] ', line)
        assert re.search(r'eta: 0:00:\d\d ', line)
        assert f' loss: {loss:.4f} ' in line
    accuracy, = events.Scalars('acc/top1')
    assert f'acc/top1: {accuracy.value:.4f}' in out

    train(2, '--resume')
    curves = load_curves('run')
    assert curves['loss'][:2] == ('iteration', [*range(1, 9)])
    assert curves['loss'].values[0] == pytest.approx(losses[0])
    assert curves['acc/top1'][:2] == ('epoch', [1, 2])


def test_tensorboard_that_is_missing_is_one_line(run_tool, repo, monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch.utils.tensorboard', None)
    code = run_tool('train', repo / 'configs/selfy_tsm_r18_motion.py',
                    '--tensorboard')
    assert re.fullmatch(
        'train.py: error: --tensorboard: .* pip install tensorboard', code)


def test_picture_of_several_trainings(call_tool, run_tool, tmp_path):
    dirs = [
        write_log(tmp_path / f'{end}', '20260101_100000', {
            1: 2.,
            9: end
        }, {1: .5}) for end in (.5, 1.)
    ]
    for count in 1, 2:
        path = tmp_path / f'new/{count}.png'
        out = call_tool('plot_logs', *dirs[:count], '-o', path)
        assert out == f'Drew loss, acc/top1 to {path}.\n'
        # Matplotlib's first two colours, one for each
        picture = cv2.imread(str(path))[..., ::-1]
        assert [(picture == color).all(-1).sum() > 100
                for color in ((31, 119, 180), (255, 127, 14))
                ] == [True, count == 2]
    for args, message in (([path.parent], f'{path.parent} holds no log of a '),
                          ([dirs[0], '--keys', 'los'],
                           '--keys los was not logged: acc/top1, loss, lr')):
        code = run_tool('plot_logs', *args)
        assert code.startswith(f'plot_logs.py: error: {message}')
