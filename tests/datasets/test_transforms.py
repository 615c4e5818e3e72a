"""The transforms of selfy_mmaction.datasets."""
import numpy as np
import pytest
from PIL import Image

from selfy_mmaction.datasets import PillowResize, SelectiveFlip

CLASSES = ['turn left', 'jump', 'turn right']


def make_sample(label):
    """Two frames whose columns differ."""
    imgs = [np.tile(np.arange(6, dtype=np.uint8), (4, 1)) + i for i in (0, 9)]
    return dict(imgs=imgs, img_shape=(4, 6), modality='RGB', label=label)


@pytest.mark.parametrize('label', [0, 1, 2])
def test_only_other_classes_are_flipped(label):
    flip = SelectiveFlip(['turn left', 'turn right'], CLASSES, flip_ratio=1)
    before = make_sample(label)['imgs']
    after = flip(make_sample(label))
    flipped = CLASSES[label] == 'jump'
    assert after['flip'] == flipped and after['label'] == label
    for a, b in zip(after['imgs'], before, strict=True):
        np.testing.assert_array_equal(a, b[:, ::-1] if flipped else b)


def test_half_of_the_others_are_flipped():
    np.random.seed(0)
    flip = SelectiveFlip(['turn left'], CLASSES)
    flips = [flip(make_sample(1))['flip'] for _ in range(400)]
    assert 160 < sum(flips) < 240


def test_classes_may_be_a_file(tmp_path):
    path = tmp_path / 'classes.txt'
    path.write_text('\n'.join(CLASSES) + '\n')
    flip = SelectiveFlip(['turn right'], str(path), flip_ratio=1)
    assert [bool(flip(make_sample(i))['flip']) for i in range(3)] == [
        True, True, False
    ]


def test_unknown_class_is_named():
    with pytest.raises(ValueError, match="'turn up', .* 3 classes of classes"):
        SelectiveFlip(['jump', 'turn up'], CLASSES)


def make_chirp(height, width):
    """A picture whose waves get shorter, up to two pixels at its sides."""
    y, x = np.mgrid[:height, :width]
    squares = (x - width / 2)**2 + (y - height / 2)**2
    wave = np.cos(np.pi * squares / max(height, width))
    return np.repeat(np.uint8(127.5 + 127.4 * wave)[..., None], 3, axis=2)


@pytest.mark.parametrize(('shape', 'scale', 'keep_ratio', 'expected'), [
    ((480, 640), (320, 240), False, (240, 320)),
    ((240, 427), (320, 240), False, (240, 320)),
    ((360, 480), (-1, 256), True, (256, 341)),
    ((480, 360), (-1, 256), True, (341, 256)),
    ((100, 176), (320, 240), False, (240, 320)),
])
def test_frames_are_resized_as_by_pil(shape, scale, keep_ratio, expected):
    frame = make_chirp(*shape)
    resize = PillowResize(scale, keep_ratio)
    results = resize(dict(imgs=[frame, frame[::-1]], img_shape=shape))
    assert results['img_shape'] == expected
    size = expected[::-1]
    for out, source in zip(results['imgs'], (frame, frame[::-1]), strict=True):
        right = np.array(Image.fromarray(source).resize(
            size, Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(out, right)
