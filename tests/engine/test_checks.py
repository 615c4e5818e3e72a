"""What a config leaves to the defaults of its model, and what it flips."""
import pytest
from mmaction.models.backbones import ResNetTSM
from mmengine.config import Config

from selfy_mmaction.datasets.recipes import clip_frames
from selfy_mmaction.engine.checks import check_frames, check_lists, check_model
from selfy_mmaction.models.backbones import ResNetSELFY


class HiddenFrames(ResNetSELFY):

    def __init__(self, depth, **kwargs):
        super().__init__(depth, num_segments=16, **kwargs)


@pytest.mark.parametrize('backbone, frames', [
    (dict(type=HiddenFrames, num_segments=4), 4),
    (dict(type='ResNetSELFY'), 8),
    (dict(type='MobileNetV2SELFY', num_segments=16), 16),
    (dict(type='ViTSELFY', num_frames=12), 12),
    (dict(type='mmaction.ResNetTSM'), 8),
    (dict(type=ResNetTSM), 8),
    (dict(type='ResNet3dSlowOnly'), None),
    (dict(type='NoSuchNet'), None),
    (dict(depth=50), None),
])
def test_frames_of_a_clip(backbone, frames):
    cfg = Config(dict(model=dict(backbone=backbone)))
    assert clip_frames(cfg) == frames


def test_frames_that_only_the_network_knows_are_asked_for():
    cfg = Config(dict(model=dict(backbone=dict(type=HiddenFrames))))
    with pytest.raises(ValueError, match='set model.backbone.num_segments, '):
        check_model(cfg)


def test_a_default_is_compared_as_well():
    backbone = dict(type='ResNetSELFY', num_segments=16)
    cfg = Config(
        dict(model=dict(backbone=backbone, cls_head=dict(type='TSMHead'))))
    with pytest.raises(ValueError, match='=16, but .*cls_head.num_segments=8'):
        check_model(cfg)


FLIP = dict(type='SelectiveFlip', frozen_classes=['left'])
NAMES = ['left', 'right', 'up']


@pytest.fixture
def check_flip(tmp_path):
    """Check a training on three classes that has a step."""
    (tmp_path / 'list.txt').write_text('a.mp4 2\n')
    (tmp_path / 'classes.txt').write_text('\n'.join([*NAMES, '']))

    def check(step, num_classes=3, **dataset):
        dataset.update(
            type='VideoDataset',
            data_root=str(tmp_path),
            ann_file='list.txt',
            pipeline=[dict(type='DecordInit'), step])
        head = dict(num_classes=num_classes) if num_classes else {}
        check_lists(
            Config(
                dict(
                    model=dict(cls_head=head),
                    train_dataloader=dict(dataset=dataset))), 'train')

    return check


@pytest.mark.parametrize('settings, message', [
    ({}, 'may spare other classes .* set metainfo.classes of the dataset'),
    (dict(metainfo=dict(classes=['up', 'left', 'right'])),
     'has other classes than metainfo.classes'),
    (dict(metainfo=dict(classes=NAMES), num_classes=4),
     r'has 3 classes, but model.cls_head.num_classes=4: name those of the'),
])
def test_a_flip_of_unknown_classes_is_refused(check_flip, settings, message):
    with pytest.raises(
            ValueError, match='SelectiveFlip of train_dataloader ' + message):
        check_flip(dict(FLIP, classes=NAMES), **settings)


def test_a_flip_of_the_classes_passes(check_flip, tmp_path):
    file = str(tmp_path / 'classes.txt')
    for names in NAMES, file:
        for num_classes in 3, None:
            check_flip(
                dict(FLIP, classes=file),
                num_classes=num_classes,
                metainfo=dict(classes=names))
    # as MMAction2's own configs flip
    check_flip(dict(type='Flip', flip_ratio=0.5))


@pytest.mark.parametrize(
    'step, fits',
    [
        (dict(clip_len=1, num_clips=3), True),
        (dict(clip_len=1, num_clips=3, twice_sample=True), True),
        (dict(clip_len=3, num_clips=10), True),
        (dict(clip_len=6), True),
        (dict(clip_len=1, num_clips=25), False),
        # frames of an eighth of the distance
        (dict(clip_len=1, num_clips=24), False),
    ])
def test_views_are_sampled_as_in_training(step, fits):
    cfg = Config(
        dict(
            model=dict(backbone=dict(type='ResNetSELFY', num_segments=3)),
            test_dataloader=dict(dataset=dict(pipeline=[step]))))
    if fits:
        check_frames(cfg, 'test')
        return
    with pytest.raises(ValueError, match='sample 3; .* twice_sample=True of'):
        check_frames(cfg, 'test')
