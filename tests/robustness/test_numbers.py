"""Numbers: awkward input, divergence, and the same run twice."""
import re
import sys

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.ops import stss

FLOATS = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('similarity', ['cosine', 'dot'])
@pytest.mark.parametrize('value', [0, 1e-30, 3., 'largest'])
def test_constant_features(similarity, value, dtype):
    if value == 'largest':
        value, similarity = torch.finfo(dtype).max / 4, 'cosine'
    x = torch.full((1, 4, 16, 5, 6), value, dtype=dtype, requires_grad=True)
    y = stss(x, (3, 5, 5), similarity)
    y.sum().backward()
    assert y.isfinite().all() and x.grad.isfinite().all()
    if similarity == 'cosine' and value <= 3:
        # the same everywhere, to itself and to its neighbours
        inside = y[:, 1:-1, 2:-2, 2:-2].float()
        expected = torch.full_like(inside, float(value == 3))
        torch.testing.assert_close(inside, expected, rtol=0, atol=1e-2)


@pytest.mark.parametrize('dtype, largest', [(torch.float32, 1e17),
                                            (torch.bfloat16, 1e17),
                                            (torch.float16, 65504)])
def test_huge_features_are_compared(dtype, largest):
    torch.manual_seed(0)
    x = torch.randn(1, 4, 128, 5, 6)
    x = (x / x.abs().max() * largest).to(dtype).requires_grad_()
    y = stss(x, (3, 5, 5))
    y.float().sum().backward()
    assert x.grad.isfinite().all()
    small = stss(x.detach().double() / largest, (3, 5, 5), eps=0.)
    torch.testing.assert_close(y.double(), small, rtol=0, atol=2e-2)


def test_not_a_number_is_not_hidden():
    x = torch.ones(1, 4, 8, 5, 6)
    x[0, 1, 3, 2, 2] = torch.nan
    y = stss(x, (3, 5, 5))
    # in the window of every neighbour, and of no other position
    assert y[0, 1, 2, 2, 1, 2, 2].isnan() and y[0, 2, 3, 3, 0, 1, 1].isnan()
    assert y[0, 3].isfinite().all() and y[0, :, :, 5].isfinite().all()


@pytest.mark.parametrize('train', [True, False])
@pytest.mark.parametrize('dtype', FLOATS)
@pytest.mark.parametrize('scale, shift', [(0, 0), (0, 3), (5e3, 0)])
def test_block(scale, shift, dtype, train):
    torch.manual_seed(0)
    block = SELFYBlock(8, 4, mid_channels=16).train(train).to(dtype)
    nn.init.ones_(block.residual_add.bn.weight)
    x = (torch.randn(8, 8, 7, 9) * scale + shift).to(dtype).requires_grad_()
    y = block(x)
    y.float().mean().backward()
    for tensor in (y, x.grad, *(p.grad for p in block.parameters())):
        assert tensor.isfinite().all()


@pytest.mark.parametrize('autocast', [False, True])
@pytest.mark.parametrize('value', [0, 255])
def test_network_on_constant_frames(published, value, autocast):
    torch.manual_seed(0)
    init_default_scope('mmaction')
    model = MODELS.build(Config.fromfile(published[0]).model)
    for block in model.backbone.selfy.values():
        nn.init.ones_(block.residual_add.bn.weight)
    clips = [torch.full((8, 3, 64, 64), value, dtype=torch.uint8)] * 2
    with torch.autocast('cpu', torch.bfloat16, enabled=autocast):
        inputs = model.data_preprocessor(
            dict(inputs=clips, data_samples=None), training=True)['inputs']
        scores = model(inputs, mode='tensor', stage='head')
    loss = F.cross_entropy(scores.float(), torch.arange(2))
    loss.backward()
    assert loss.isfinite()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name


def test_video_of_one_frame(published, tmp_path):
    path = tmp_path / 'one.mp4'
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), 12, (96, 96))
    writer.write(np.zeros((96, 96, 3), np.uint8))
    writer.release()
    config, checkpoint = published
    predict = VideoPredictor(Config.fromfile(config), checkpoint, 'cpu')
    found = predict(str(path), topk=8)
    assert sum(p['score'] for p in found) == pytest.approx(1)


@pytest.fixture
def train(main_config, tiny, load_tool, monkeypatch, tmp_path):
    """Train in this process and return the weights."""

    def run(name, *args):
        # 4 clips a batch, for there to be 2
        monkeypatch.setattr(sys, 'argv', [
            'train.py', main_config, '--no-validate', '--work-dir',
            str(tmp_path / name), '--cfg-options', *tiny,
            'train_dataloader.batch_size=4', *args
        ])
        load_tool('train').main()
        return torch.load(tmp_path / name / 'epoch_1.pth')['state_dict']

    yield run
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.deterministic = False


def test_a_seed_gives_the_same_weights(train):
    """Bit for bit, with what other processes decode and augment."""
    workers = ['train_dataloader.num_workers=2', '--deterministic', '--seed']
    first, again, other = (
        train(name, *workers, seed)
        for name, seed in zip(('first', 'again', 'other'), '112', strict=True))
    assert torch.are_deterministic_algorithms_enabled()
    for key, value in first.items():
        assert torch.equal(value, again[key]), key
    key = 'cls_head.fc_cls.weight'
    assert not torch.equal(first[key], other[key])


def test_divergence_ends_the_training(train, tmp_path):
    with pytest.raises(SystemExit) as exit_info:
        train('diverges', 'optim_wrapper.optimizer.lr=1e30',
              'optim_wrapper.clip_grad=None')
    assert re.fullmatch(
        r'train.py: error: the loss is (nan|inf) in epoch 1, iteration 2: '
        r'lower optim_wrapper.optimizer.lr \(the rate is 1e\+30 there\) or '
        'set optim_wrapper.clip_grad, and resume from the last checkpoint.',
        exit_info.value.code)
    assert not (tmp_path / 'diverges/epoch_1.pth').exists()
