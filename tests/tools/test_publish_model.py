"""tools/publish_model.py on a checkpoint of a real training."""
import hashlib
import re
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from dumping import write_dump
from mmengine.config import Config
from safetensors import safe_open

from selfy_mmaction.apis.inference import VideoPredictor

NAME = 'selfy_tsm_r18_motion'


@pytest.fixture(scope='module')
def project(repo, motion_options, tool_env, tmp_path_factory):
    """A clone, and a network of one epoch that was trained there."""
    root = tmp_path_factory.mktemp('project')
    for name in 'configs', 'docs', 'tools':
        shutil.copytree(repo / name, root / name)
    with (root / f'configs/{NAME}.py').open('a') as file:
        file.write("custom_hooks = [dict(type='EMAHook', momentum=0.5)]\n")
    command = [sys.executable, root / 'tools/train.py', f'configs/{NAME}.py']
    command += ['--cfg-options', 'train_cfg.max_epochs=1', *motion_options]
    command += [
        f'{split}_dataloader.{setting}' for split in ('train', 'val')
        for setting in ('num_workers=0', 'persistent_workers=False')
    ]
    subprocess.run(command, cwd=root, env=tool_env, check=True)
    return root


@pytest.fixture
def checkpoint(project):
    return project / f'work_dirs/{NAME}/epoch_1.pth'


@pytest.fixture
def run(project, call_tool):
    """Run a tool of the project and return its output."""
    return lambda name, *args: call_tool(f'{project}/tools/{name}', *args)


def test_a_network_to_give_away(run, checkpoint, project, motion_root,
                                video_dir, tmp_path):
    out = run('publish_model', checkpoint, '--out-dir', tmp_path / 'out',
              '--safetensors')
    card, path, safe = sorted((tmp_path / 'out').iterdir())
    assert out.splitlines()[0].startswith(f'{path} (')
    match = re.fullmatch(rf'{NAME}_\d{{8}}-([0-9a-f]{{8}})\.pth', path.name)
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:8] == match[1]

    trained, published = torch.load(checkpoint), torch.load(path)
    assert 'optimizer' in trained
    assert set(published) == {'meta', 'state_dict'}
    assert path.stat().st_size < checkpoint.stat().st_size / 2
    # The averaged weights, which MMEngine tests, not those of the last step.
    weight = 'cls_head.fc_cls.weight'
    average = trained['state_dict'][weight]
    assert not torch.equal(trained['ema_state_dict'][f'module.{weight}'],
                           average)
    assert torch.equal(published['state_dict'][weight], average)
    with safe_open(safe, 'pt') as file:
        assert set(file.keys()) == set(published['state_dict'])
        assert torch.equal(file.get_tensor(weight), average)
        assert file.metadata()['config'] == published['meta']['cfg']
        assert 'camera pans left' in file.metadata()['classes']

    # Nothing of the machine is left, neither in the config nor elsewhere.
    content = path.read_bytes() + safe.read_bytes() + card.read_bytes()
    for folder in project, motion_root, project.parent:
        assert str(folder).encode() not in content

    # The card's commands get the config out of the file, and it works.
    text = card.read_text()
    for words in ('TO FILL IN', '    0  camera pans left\n', '8 frames of 64',
                  'Not measured', 'for 1 epochs'):
        assert words in text
    command = re.search(r'^python -c .*$', text, re.M)[0]
    command = command.replace('python', sys.executable, 1)
    subprocess.run(command, shell=True, cwd=path.parent, check=True)
    cfg = Config.fromfile(path.with_name(f'{NAME}.py'))
    assert cfg.train_dataloader.dataset.data_root == motion_root.name
    assert 'work_dir' not in cfg and 'launcher' not in cfg
    one, two = (
        VideoPredictor(cfg, str(weights), 'cpu')(str(video_dir / 'left0.mp4'))
        for weights in (path, checkpoint))
    assert one == two


def test_entering_the_zoo(run, checkpoint, project, tmp_path):
    metafile = project / 'configs/metafile.yml'
    before = metafile.read_text()
    labels, found = [0, 1, 1], [0, 1, 0]
    scores = 0.49 * torch.eye(8)[labels] + 0.51 * torch.eye(8)[found]
    dump = write_dump(tmp_path / 'dump.npz', scores, labels)
    out = project / 'checkpoints/mine'
    run('publish_model', checkpoint, '--out-dir', out, '--dump', dump)
    path, = out.glob('*.pth')
    assert '- Top 1 Accuracy: 66.67 %\n' in (out / 'README.md').read_text()
    # The zoo is another step.
    assert metafile.read_text() == before
    run('update_zoo', path)
    entry, = (
        model for model in yaml.safe_load(metafile.read_text())['Models']
        if model['Name'] == NAME)
    assert entry['Weights'] == f'checkpoints/mine/{path.name}'
    # of the training, not of the config
    assert entry['Metadata']['Epochs'] == 1
    assert entry['Results'][0]['Metrics'] == {
        'Top 1 Accuracy': 66.67,
        'Top 5 Accuracy': 100.0,
        'Mean Class Accuracy': 75.0
    }
    # What it has in it is kept when it is published again.
    run('publish_model', path, '--out-dir', tmp_path, '--config',
        project / f'configs/{NAME}.py')
    again, = tmp_path.glob('*.pth')
    assert torch.load(again)['meta'] == torch.load(path)['meta']


def test_refusals_leave_nothing(run, checkpoint, project, tmp_path):
    (tmp_path / 'README.md').write_text('mine')
    for *args, words in (
        ('--config', project / 'configs/selfy_tsm_r50_sthv1.py',
         'epoch_1.pth does not fit the model of the config: '),
        ('--config', 'absent.py', 'absent.py does not exist'),
        ('--dump', 'absent.npz', 'dump absent.npz does not exist'),
        ('--out-dir', tmp_path, 'README.md exists: give another --out-dir'),
    ):
        with pytest.raises(SystemExit, match=words):
            run('publish_model', checkpoint, '--out-dir', tmp_path / 'new',
                *args)
    assert [path.name for path in tmp_path.iterdir()] == ['README.md']
