"""tools/publish_model.py on a checkpoint of a real training."""
import hashlib
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from dumping import write_dump
from mmaction.registry import MODELS
from mmengine.config import Config
from safetensors import safe_open

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.evaluation.zoo import Zoo

NAME = 'selfy_tsm_r18_sthv1_small'
CONFIG = """
_base_ = 'selfy_tsm_r50_sthv1.py'
model = dict(
    backbone=dict(depth=18, pretrained=None), cls_head=dict(in_channels=512))
custom_hooks = [dict(type='EMAHook', momentum=0.5)]
"""


@pytest.fixture(scope='module')
def origin(repo, small, tool_env, tmp_path_factory):
    """A project with a config of its own, and what its training left."""
    root = tmp_path_factory.mktemp('project')
    for name in 'configs', 'docs', 'tools':
        shutil.copytree(repo / name, root / name)
    (root / f'configs/{NAME}.py').write_text(CONFIG)
    zoo = Zoo(root)
    zoo.update(lambda cfg, size: dict(flops=1, params=1))
    zoo.write()
    done = subprocess.run([
        sys.executable, root / 'tools/train.py', f'configs/{NAME}.py',
        '--cfg-options', *small
    ],
                          cwd=root,
                          env=tool_env,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def project(origin, tmp_path):
    root = tmp_path / 'project'
    shutil.copytree(origin, root, ignore=shutil.ignore_patterns('work_dirs'))
    return root


@pytest.fixture
def checkpoint(origin):
    return origin / f'work_dirs/{NAME}/epoch_1.pth'


@pytest.fixture
def publish(project, load_tool, monkeypatch):
    """Run the tool of the project and return the file that it wrote."""

    def run(*args):
        tool = load_tool('publish_model')
        monkeypatch.setattr(tool, 'ROOT', project)
        monkeypatch.setattr(sys, 'argv', ['publish_model.py', *map(str, args)])
        before = set(project.rglob('*.pth'))
        tool.main()
        path, = set(project.rglob('*.pth')) - before
        return path

    return run


def test_published_checkpoint(publish, checkpoint, origin, sthv1_root,
                              class_names, video_dir):
    path = publish(checkpoint)
    match = re.fullmatch(rf'{NAME}_\d{{8}}-([0-9a-f]{{8}})\.pth', path.name)
    assert hashlib.sha256(path.read_bytes()).hexdigest()[:8] == match[1]

    trained, published = torch.load(checkpoint), torch.load(path)
    assert 'optimizer' in trained and 'ema_state_dict' in trained
    assert set(published) == {'meta', 'state_dict'}
    assert path.stat().st_size < checkpoint.stat().st_size / 2
    # The averaged weights, which MMEngine tests, not those of the last step.
    last = trained['ema_state_dict']['module.cls_head.fc_cls.weight']
    average = trained['state_dict']['cls_head.fc_cls.weight']
    assert not torch.equal(last, average)
    assert torch.equal(published['state_dict']['cls_head.fc_cls.weight'],
                       average)

    # Nothing of the machine is left, neither in the config nor elsewhere.
    content = path.read_bytes()
    for folder in origin, sthv1_root, origin.parent:
        assert str(folder).encode() not in content
    assert not path.with_suffix('.safetensors').exists()
    assert 'work_dir' not in published['meta']['cfg']
    assert published['meta']['dataset_meta']['classes'] == class_names

    # The config in it builds the network that its weights fit.
    cfg = Config.fromstring(published['meta']['cfg'], '.py')
    assert cfg.train_dataloader.batch_size == 2
    MODELS.build(cfg.model).load_state_dict(published['state_dict'])

    video = str(video_dir / 'left0.mp4')
    results = [
        VideoPredictor(
            Config.fromfile(origin / f'configs/{NAME}.py'), str(file),
            'cpu')(video) for file in (checkpoint, path)
    ]
    assert results[0] == results[1]


def test_safetensors_hold_the_same(publish, checkpoint, class_names):
    path = publish(checkpoint, '--safetensors')
    weights = torch.load(path)['state_dict']
    with safe_open(path.with_suffix('.safetensors'), 'pt') as file:
        assert set(file.keys()) == set(weights)
        for key, value in weights.items():
            assert torch.equal(file.get_tensor(key), value)
        metadata = file.metadata()
    assert metadata['config'] == torch.load(path)['meta']['cfg']
    assert class_names[5] in metadata['classes']


def test_entry_and_table(publish, checkpoint, project, tmp_path):
    labels, found = [0, 1, 1], [0, 1, 0]
    scores = 0.49 * torch.eye(174)[labels] + 0.51 * torch.eye(174)[found]
    dump = write_dump(tmp_path / 'dump.npz', scores, labels)
    publish(checkpoint, '--dump', dump, '--url', 'https://host/zoo/',
            '--out-dir', project / 'upload')
    path, = project.glob('upload/*.pth')
    model = Zoo(project).models[NAME]
    assert model['Weights'] == f'https://host/zoo/{path.name}'
    assert model['Results'][0]['Metrics'] == {
        'Top 1 Accuracy': 66.67,
        'Top 5 Accuracy': 100.0,
        'Mean Class Accuracy': 75.0
    }
    assert f'[{path.name}](https://host/zoo/{path.name}) |' in (
        project / 'docs/model_zoo.md').read_text()
    # Other entries stay as they are, those of the paper, too.
    assert Zoo(project).models['selfy_tsm_r50_1x1x16_sthv1']['Results']

    # Found in the repository, with its own name again.
    path = publish(checkpoint)
    assert path.parent == project / 'checkpoints'
    model = Zoo(project).models[NAME]
    assert model['Weights'] == f'checkpoints/{path.name}'
    # Accuracies of the earlier checkpoint are not those of this one.
    assert 'Results' not in model


@pytest.mark.parametrize('args, words', [
    (['--config', 'configs/selfy_tsm_r50_sthv1.py'
      ], 'epoch_1.pth does not fit the model of the config: '),
    (['--config', 'configs/absent.py'
      ], 'absent is not in .*metafile.yml: put it in configs/'),
    (['--out-dir', '/'], '--out-dir / is not in this repository: give its '),
    (['--dump', 'absent.npz'], 'dump absent.npz does not exist'),
])
def test_refusals_leave_nothing(publish, checkpoint, project, args, words):
    before = (project / 'configs/metafile.yml').read_text()
    args = [arg.replace('configs/', f'{project}/configs/') for arg in args]
    with pytest.raises(SystemExit, match=words):
        publish(checkpoint, *args)
    assert (project / 'configs/metafile.yml').read_text() == before
    assert not (project / 'checkpoints').exists()


class Hostile:

    def __reduce__(self):
        return os.mkdir, ('mark', )


@pytest.mark.parametrize('saved, words', [
    ({
        'a.weight': torch.zeros(1)
    }, 'does not name its config in configs/: give --config.'),
    ([torch.zeros(1)], 'holds a list, not a checkpoint'),
    (Hostile(), 'weights.pth is not a checkpoint, or has code in it ('),
])
def test_other_files(run_tool, tmp_path, saved, words):
    path = tmp_path / 'weights.pth'
    torch.save(saved, path)
    assert words in run_tool('publish_model', path)
    assert not (tmp_path / 'mark').exists()
