"""Your own videos: from a folder of clips to predictions, on real files."""
import re
import shutil
import sys
from types import SimpleNamespace

import cv2
import pytest
import torch
from mmaction.registry import HOOKS, MODELS, VISBACKENDS
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from releases import FolderPreparation

from selfy_mmaction.apis.similarity import observe
from selfy_mmaction.apis.video import Video, write_video
from selfy_mmaction.datasets.recipes import find_step
from selfy_mmaction.engine import checks, launch

CLASSES = ['standing still', 'turn left', 'turn right']
FROZEN = "'turn left', 'turn right'"


@pytest.fixture(scope='module')
def project(repo, tmp_path_factory, video_dir):
    """The configs, one of them for these clips and small, and the clips."""
    root = tmp_path_factory.mktemp('project')
    shutil.copytree(repo / 'configs', root / 'configs')
    (root / 'checkpoints').symlink_to(repo / 'checkpoints')
    text = (root / 'configs/selfy_tsm_r18_folder.py').read_text()
    # what docs/your_videos.md says of another folder and of the flip
    changes = {
        "'data/mine', frozen_classes=[]":
        f"'data/turns', frozen_classes=[{FROZEN}]",
        'max_epochs=30': 'max_epochs=1',
        '_base_, 112': '_base_, 32'
    }
    for old, new in changes.items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    (root / 'configs/selfy_tsm_r18_turns.py').write_text(text)
    for name in CLASSES:
        (root / 'data/turns' / name).mkdir(parents=True)
    for i in range(6):
        for side in 'left', 'right':
            shutil.copy(video_dir / f'{side}{i}.mp4',
                        root / f'data/turns/turn {side}')
        frame, *_ = Video(str(video_dir / f'right{i}.mp4'))
        write_video(root / f'data/turns/standing still/clip {i}.mp4',
                    12 * [frame], 12)
    return root


@pytest.fixture
def run(project, load_tool, monkeypatch, capsys):
    """Run a tool in the project; return its exit code and output."""

    def run(name, *args):
        monkeypatch.chdir(project)
        monkeypatch.setattr(sys, 'argv', [f'{name}.py', *map(str, args)])
        code = 0
        try:
            load_tool(name).main()
        except SystemExit as done:
            code = done.code
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return run


SINGLE = [
    f'{stage}_dataloader.{setting}' for stage in ('train', 'val', 'test')
    for setting in ('num_workers=0', 'persistent_workers=False')
]
CONFIG = 'configs/selfy_tsm_r18_turns.py'


def test_from_a_folder_to_predictions(run, project, published, load_tool):
    (project / 'data/turns/classes.txt').unlink(missing_ok=True)
    done = run('train', CONFIG)
    assert done.code.endswith(
        'data/turns/classes.txt does not exist: `python '
        'tools/data/prepare.py folder data/turns` writes it.')

    for args, message in (('folder --partial', '--partial is not for folder.'),
                          ('sthv1 --seed 1', '--seed is not for sthv1.')):
        done = run('data/prepare', *args.split(), 'data/turns')
        assert done.code == 2 and message in done.err
    done = run('data/prepare', 'folder', 'data/turns', '--workers', 1)
    assert not done.code
    assert "names them: 'turn left', 'turn right'" in done.out

    done = run('train', CONFIG, '--cfg-options', *SINGLE,
               'train_dataloader.batch_size=4')
    assert not done.code, done.code
    folder = project / 'work_dirs/selfy_tsm_r18_turns'
    checkpoint, = folder.glob('best_acc_top1_epoch_1.pth')
    saved = torch.load(checkpoint)
    assert saved['meta']['dataset_meta']['classes'] == CLASSES
    # It started from the published network.
    began = torch.load(published[1])['state_dict']
    key = next(
        k for k in began
        if k.startswith('backbone.layer1') and k.endswith('conv.weight'))
    change = (saved['state_dict'][key] - began[key]).norm()
    assert 0 < change < 0.2 * began[key].norm()

    done = run('test', CONFIG, checkpoint, '--dump', 'predictions.npz',
               '--cfg-options', *SINGLE)
    assert not done.code
    done = run('analyze_results', CONFIG, 'predictions.npz', 'analysis')
    assert not done.code and done.out.startswith('3 samples')
    assert cv2.imread(str(project / 'analysis/matrix.png')).size
    rows = (project / 'analysis/classes.csv').read_text()
    assert all(name in rows for name in CLASSES)

    # On the page: the answer from 32 pixels, the picture from 192.
    page = load_tool('projects/page/app').load_predictors(
        SimpleNamespace(
            config=CONFIG,
            checkpoint=str(checkpoint),
            device='cpu',
            cfg_options={}))
    clip = str(next((project / 'data/turns/turn left').iterdir()))
    assert [observe(p, clip).frames.shape for p in page] == [(8, 32, 32, 3),
                                                             (8, 192, 192, 3)]

    # Elsewhere, with the config that the training has left.
    written = folder / 'selfy_tsm_r18_turns.py'
    (project / 'data/turns/classes.txt').unlink()
    done = run('predict', 'data/turns/turn left', written, checkpoint)
    assert not done.code
    lines = done.out.splitlines()
    assert len(lines) == 6
    assert all(line.split('%  ')[1] in CLASSES for line in lines)


@pytest.fixture
def prepared(project, monkeypatch):
    assert FolderPreparation(project / 'data/turns').run()
    monkeypatch.chdir(project)
    return project


def test_the_flip_spares_the_frozen_classes(prepared):
    cfg = launch.load_config(CONFIG, {}).train_dataloader
    cfg.update(batch_size=1, num_workers=0, persistent_workers=False)
    find_step(cfg.dataset.pipeline, 'Flip').flip_ratio = 1
    dataset = Runner.build_dataloader(cfg, seed=0).dataset
    for i in range(len(dataset)):
        results = dataset.get_data_info(i)
        name = CLASSES[results['label']]
        for transform in dataset.pipeline.transforms[:-2]:
            results = transform(results)
        assert results['flip'] == (name == 'standing still')


def test_main_config_reads_the_folder(prepared):
    text = (prepared / 'configs/selfy_tsm_r50_folder.py').read_text()
    path = prepared / 'configs/selfy_tsm_r50_turns.py'
    path.write_text(text.replace('data/mine', 'data/turns'))
    cfg = launch.load_config(str(path), {})
    assert cfg.model.cls_head.num_classes == 3
    assert cfg.model.backbone.pretrained == 'torchvision://resnet50'
    assert cfg.test_pipeline == cfg.test_dataloader.dataset.pipeline
    for stage in 'train', 'val', 'test':
        checks.check_dataloader(cfg, stage)
        checks.check_lists(cfg, stage)
        dataset = cfg[f'{stage}_dataloader'].dataset
        assert dataset.metainfo.classes == CLASSES
    rate = cfg.optim_wrapper.optimizer.lr
    batch = cfg.train_dataloader.batch_size
    assert batch == cfg.auto_scale_lr.base_batch_size == 8
    assert rate / batch == 0.01 / 64
    # The classifier is new, and learns faster.
    cfg.model.backbone.update(depth=18, pretrained=None)
    cfg.model.cls_head.in_channels = 512
    init_default_scope('mmaction')
    model = MODELS.build(cfg.model)
    groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    for weight, factor in ((model.cls_head.fc_cls.weight, 5),
                           (model.backbone.conv1.conv.weight, 1)):
        own, = (x for x in groups if any(y is weight for y in x['params']))
        assert own['lr'] == factor * rate


def test_a_space_in_a_list_is_named(prepared):
    cfg = launch.load_config(CONFIG, {})
    dataset = cfg.train_dataloader.dataset
    del dataset['delimiter']
    dataset.ann_file = 'spaced.txt'
    (prepared / 'data/turns/spaced.txt').write_text('turn left/left0.mp4 1\n')
    with pytest.raises(
            ValueError,
            match="line 1 is 'turn left/left0.mp4 1'.*"
            'If a name has a space'):
        checks.check_lists(cfg, 'train')


def test_settings_of_the_guide(repo, prepared):
    text = (repo / 'docs/your_videos.md').read_text()
    flip, *blocks = re.findall('^```python\n(.+?)^```', text, re.S | re.M)
    assert flip.startswith("use_folder(_base_, 'data/mine', frozen_classes=[")
    config = prepared / 'configs/selfy_tsm_r18_guide.py'
    config.write_text('\n'.join([(prepared / CONFIG).read_text(), *blocks]))
    cfg = launch.load_config(str(config), {})
    init_default_scope('mmaction')
    stop, = map(HOOKS.build, cfg.custom_hooks)
    assert stop.rule == 'greater'
    assert all(
        VISBACKENDS.get(backend.type)
        for backend in cfg.visualizer.vis_backends)
    assert cfg.default_hooks.checkpoint.save_best == 'acc/mean1'
    assert cfg.default_hooks.checkpoint.type == 'CheckpointHook'
    head = MODELS.build(cfg.model.cls_head)
    weights = head.loss_cls.class_weight
    assert len(weights) == head.num_classes
    # A clip of a class with a large weight has a larger gradient.
    scores, labels = torch.zeros(
        2, 3, requires_grad=True), torch.tensor([0, 2])
    head.loss_cls(scores, labels).backward()
    light, heavy = scores.grad.norm(dim=1)
    torch.testing.assert_close(heavy / light, weights[2] / weights[0])
