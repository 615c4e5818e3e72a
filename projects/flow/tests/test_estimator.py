"""The flow of STSS on a photograph that moves."""
import re

import cv2
import numpy as np
import pytest
import torch
from estimator import (
    STRIDE,
    FlowEstimator,
    estimate_flow,
    get_mismatch,
)
from mmaction.models import ResNet


def shifted(photo, shifts, side=160):
    """Frames of a photograph whose content moves by (x, y) pixels."""
    x, y = 200, 200
    frames = [photo[y:y + side, x:x + side]]
    for dx, dy in shifts:
        x, y = x - dx, y - dy
        frames.append(photo[y:y + side, x:x + side])
    return np.stack(frames)


@pytest.fixture(scope='module')
def estimator():
    return FlowEstimator()


def test_finds_the_true_displacement(estimator, photo):
    """Whole positions, fractions of them, none, and many to a side."""
    shifts = [(8, -4), (-6, 10), (0, 0), (24, 0), (3, 1), (-13, -7)]
    flows = estimator(shifted(photo, shifts))
    assert flows.shape == (6, 160 // STRIDE, 160 // STRIDE, 2)
    for flow, shift in zip(flows, shifts, strict=True):
        known = np.isfinite(flow).all(-1)
        assert known.mean() > 0.7
        error = np.linalg.norm(flow[known] - shift, axis=-1)
        whole = not np.mod(shift, STRIDE).any()
        assert np.median(error) < (0.2 if whole else 1.2)
        assert np.percentile(error, 90) < 2.1


def test_what_is_covered_is_unknown(estimator, photo):
    """A patch that appears in one frame has no match."""
    frames = shifted(photo, [(0, 0)])
    rng = np.random.default_rng(0)
    frames[0, 40:100, 40:100] = cv2.resize(
        rng.integers(0, 255, (15, 15, 3), np.uint8), (60, 60))
    flow, = estimator(frames)
    unknown = np.isnan(flow).any(-1)
    assert unknown[13:22, 13:22].mean() > 0.7
    assert unknown[30:, 30:].mean() < 0.2


def test_frames_a_few_at_a_time_give_the_same(estimator, photo):
    frames = shifted(photo, 5 * [(4, 0)])
    flows = list(estimate_flow(estimator, iter(frames), size=2))
    assert len(flows) == 5
    for flow in flows:
        assert abs(np.nanmedian(flow[..., 0]) - 4) < 0.5
        assert abs(np.nanmedian(flow[..., 1])) < 0.5
    assert not list(estimate_flow(estimator, frames[:1]))


def test_pretrained_weights(estimator, photo, tmp_path):
    """A file with torchvision's names, as torchvision:// loads one."""
    state_dict = {'fc.weight': torch.zeros(1000, 512)}
    for name, value in estimator.network.state_dict().items():
        # convK.conv.x => convK.x, convK.bn.x => bnK.x
        stem, kind, x = name.rsplit('.', 2)
        head, number = stem[:-5], stem[-1]
        state_dict[f'{head}{kind}{number}.{x}'] = 2 * value
    torch.save(state_dict, tmp_path / 'resnet18.pth')
    other = FlowEstimator(str(tmp_path / 'resnet18.pth'))
    for name, value in estimator.network.state_dict().items():
        assert torch.equal(other.network.state_dict()[name], 2 * value), name
    flow, = other(shifted(photo, [(8, -4)]))
    assert np.allclose(np.nanmedian(flow, (0, 1)), (8, -4), atol=1)


def test_weights_of_a_recognizer(estimator, tmp_path):
    """The shift wraps the first convolution of a block."""
    weights = {
        name: 2 * value
        for name, value in estimator.network.state_dict().items()
    }
    state_dict = {
        'backbone.' + re.sub(r'(layer.*conv1\.conv)', r'\1.net', name): value
        for name, value in weights.items()
    }
    assert 'backbone.layer1.0.conv1.conv.net.weight' in state_dict
    path = tmp_path / 'selfynet.pth'
    torch.save({'meta': {}, 'state_dict': state_dict}, path)
    loaded = FlowEstimator(str(path)).network.state_dict()
    for name, value in weights.items():
        assert torch.equal(loaded[name], value), name


def test_weights_of_another_network_are_refused(tmp_path):
    """Those of a ResNet-50 have the same names, and other shapes."""
    path = tmp_path / 'resnet50.pth'
    state_dict = ResNet(
        50, num_stages=1, out_indices=(0, ), strides=(1, ),
        dilations=(1, )).state_dict()
    torch.save(state_dict, path)
    with pytest.raises(ValueError, match=r'no layer1\.0\.conv1.*ResNet-18'):
        FlowEstimator(str(path))


def test_argmax_and_reach(photo):
    """The argmax is a whole number of positions, at most the reach."""
    frames = shifted(photo, [(8, -4), (24, 0)])
    near, far = FlowEstimator(reach=2, peak=1).match(frames)[0] / STRIDE
    for flow in near, far:
        assert np.allclose(flow, flow.round(), atol=1e-4)
        assert np.abs(flow).max() <= 2 + 1e-4
    assert (near.round() == (2, -1)).all(-1).mean() > 0.8


def test_mismatch_is_what_is_left_of_there_and_back():
    """Between positions, and outside the map, where the last one is used."""
    there, back = np.zeros((2, 1, 1, 5, 2), np.float32)
    there[0, 0, :, 0] = [2, 1.5, 1, 0, 1]
    back[0, 0, :, 0] = [0, 0, -2, -1, -4]
    np.testing.assert_allclose(
        get_mismatch(there, back)[0, 0], [0, 0, 0, 1, 3], atol=1e-5)
