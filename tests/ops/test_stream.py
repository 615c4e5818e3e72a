"""STSSStream against stss of the whole clip."""
import pytest
import torch

from selfy_mmaction.ops import STSSStream, stss


def features(*shape):
    torch.manual_seed(0)
    return torch.randn(shape, dtype=torch.float64)


@pytest.mark.parametrize('temporal_padding', ['zeros', 'replicate'])
@pytest.mark.parametrize('offsets, kwargs', [
    ((-2, -1, 0), {}),
    ((-1, ), dict(similarity='dot', scale=0.3)),
    ((0, -3), dict(similarity='softmax', layout='NTHWC')),
    ((0, ), {}),
])
def test_gives_what_the_whole_clip_gives(device, offsets, kwargs,
                                         temporal_padding):
    clip = features(2, 6, 4, 5, 18).to(device)
    if 'layout' in kwargs:
        clip = clip.movedim(2, 4)
    args = dict(
        window=(len(offsets), 3, 5),
        offsets=offsets,
        temporal_padding=temporal_padding,
        **kwargs)
    expected = stss(clip, **args)
    stream = STSSStream(**args)
    for _ in range(2):
        for t in range(6):
            torch.testing.assert_close(
                stream(clip[:, t]), expected[:, t], rtol=1e-12, atol=1e-12)
        stream.reset()


def test_the_frame_may_be_overwritten():
    clip = features(1, 2, 3, 4, 5)
    stream = STSSStream((1, 3, 3), (-1, ))
    frame = clip[:, 0].clone()
    stream(frame)
    frame.copy_(clip[:, 1])
    torch.testing.assert_close(
        stream(frame),
        stss(clip, (1, 3, 3), offsets=(-1, ))[:, 1])


def test_bad_use_is_named():
    with pytest.raises(ValueError, match='must not be positive'):
        STSSStream((3, 3, 3), (-1, 0, 1))
    with pytest.raises(ValueError, match="'reflect'"):
        STSSStream((1, 3, 3), (0, ), temporal_padding='reflect')
    with pytest.raises(ValueError, match='cosine'):
        STSSStream((1, 3, 3), (0, ), similarity='sine')
    stream = STSSStream((1, 3, 3), (0, ))
    stream(features(1, 2, 4, 4))
    with pytest.raises(ValueError, match='reset'):
        stream(features(1, 2, 5, 4))
