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
    forward_backward_error,
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
        assert np.abs(np.nanmedian(flow, (0, 1)) - (4, 0)).max() < 0.5
    assert not list(estimate_flow(estimator, frames[:1]))


@pytest.mark.parametrize('pattern, name', [
    (r'(.*)conv(\d)\.conv\.(.*)', r'\1conv\2.\3'),
    (r'(.*)conv(\d)\.bn\.(.*)', r'\1bn\2.\3'),
    (r'(layer.*conv1\.conv)(.*)', r'backbone.\1.net\2'),
])
def test_weights_of_torchvision_and_of_recognizers(estimator, tmp_path,
                                                   pattern, name):
    """A shift wraps the first convolution of a block of a recognizer."""
    weights = {
        name: 2 * value
        for name, value in estimator.network.state_dict().items()
    }
    renamed = {re.sub(pattern, name, key): weights[key] for key in weights}
    assert renamed.keys() != weights.keys()
    torch.save(dict(meta={}, state_dict=renamed), tmp_path / 'weights.pth')
    loaded = FlowEstimator(str(tmp_path / 'weights.pth')).network.state_dict()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)


def test_weights_of_another_network_are_refused(tmp_path):
    """The names of a ResNet-50 are the same, its shapes are not."""
    path = tmp_path / 'resnet50.pth'
    network = ResNet(
        50, num_stages=1, out_indices=(0, ), strides=(1, ), dilations=(1, ))
    torch.save(network.state_dict(), path)
    with pytest.raises(ValueError, match=r'no layer1\.0\.conv1.*ResNet-18'):
        FlowEstimator(str(path))


def test_error_is_what_is_left_of_there_and_back():
    """Between positions, and outside the map, where the last one is used."""
    there, back = torch.zeros(2, 1, 1, 5, 2)
    there[0, 0, :, 1] = torch.tensor([2, 1.5, 1, 0, 1])
    back[0, 0, :, 1] = torch.tensor([0., 0, -2, -1, -4])
    torch.testing.assert_close(
        forward_backward_error(there, back)[0, 0],
        torch.tensor([0., 0, 0, 1, 3]))
