"""The flow of STSS on a stereo pair, against the truth."""
import numpy as np
import pytest

from selfy_mmaction.analysis import stereo
from selfy_mmaction.apis.flow import STRIDE


@pytest.fixture(scope='module')
def pair(photo):
    """All moves 8 pixels to the left; on the left nothing is known.

    Each way of marking the unknown is there, and, were it counted, wrong.
    """
    views = np.stack([photo[200:328, 200:360], photo[200:328, 208:368]])
    disparity = np.full((128, 160), 8, np.float32)
    disparity[:, :24] = np.inf
    disparity[:, 24:28] = np.nan
    disparity[:, 28:32] = 0
    return stereo.shrink(views, disparity, 1)


def test_error_is_the_distance():
    flow = np.array([[3., 4.], [1., 1.], [0., -2.], [1., 0.]])
    truth = np.array([[0., 0.], [1., 1.], [0., 0.5], [np.nan, np.nan]])
    np.testing.assert_allclose(
        stereo.get_error(flow, truth), [5, 0, 2.5, np.nan])


def test_warping_error_is_the_difference_of_colours():
    """All is x + 10 * y, and one colour of the first frame is 3 more."""
    y, x = np.mgrid[:8, :12]
    frames = np.repeat((x + 10 * y)[None, ..., None], 3, -1)
    frames = np.concatenate([frames, frames]).astype(np.uint8)
    frames[0, ..., 0] += 3
    flow = np.zeros((2, 3, 2))
    flow[0, 1] = 2, 0
    flow[1, 0] = 0.5, -1
    # A value that differs by d makes |d - 3|, |d| and |d|.
    expected = [[1, (1 + 2 + 2) / 3, 1], [(12.5 + 9.5 + 9.5) / 3, 1, 1]]
    np.testing.assert_allclose(
        stereo.get_warping_error(frames, flow), expected, rtol=1e-3)


def test_shrink_keeps_sign_and_unit():
    """A point at x in the left view is at x minus disparity in the right."""
    views = np.zeros((2, 9, 13, 3), np.uint8)
    disparity = np.full((9, 13), 6, np.float32)
    disparity[4:6, 6:8] = np.inf
    frames, truth = stereo.shrink(views, disparity, 2)
    assert frames.shape == (2, 4, 6, 3) and truth.shape == (4, 6, 2)
    assert np.isnan(truth[2, 3]).all()
    truth[2, 3] = -3, 0
    assert (truth == (-3, 0)).all()


def test_the_photographs_move_as_the_truth_says():
    pair = stereo.load_pair(4)
    truth = pair.truth[::STRIDE, ::STRIDE]
    known = np.isfinite(truth).all(-1)
    assert known.mean() > 0.9
    there, nowhere, back = (
        stereo.get_warping_error(pair.frames, factor * truth)[known].mean()
        for factor in (1, 0, -1))
    assert there < nowhere / 2 and there < back / 2


def test_known_shift(pair):
    comparison = stereo.Comparison(pair)
    numbers = {
        name:
        dict(zip(stereo.COLUMNS, comparison.measure(estimate), strict=True))
        for name, estimate in comparison.estimates.items()
    }
    assert list(numbers) == [
        *(f'random, {reading}' for reading in stereo.READINGS), 'Farneback',
        'DIS', 'no motion'
    ]
    still = numbers.pop('no motion')
    assert still['EPE (px)'] == still['EPE* (px)'] == 8
    assert still['in a cell (%)'] == 0 and still['known (%)'] == 100
    for name, values in numbers.items():
        # The argmax is exact, since it is a whole number of cells.
        limit = 1 if name.endswith('soft-argmax') else 0.1
        assert values['EPE (px)'] < limit, name
        assert values['EPE* (px)'] < limit, name
        assert values['in a cell* (%)'] > 99, name
        assert values['known (%)'] > 95, name
        assert values['warping error*'] < still['warping error*'] / 5, name


def test_each_row_counts_the_same_positions(pair):
    """An estimate that is right at the known positions has no error."""
    comparison = stereo.Comparison(pair)
    reference = comparison.estimates[stereo.REFERENCE]
    valid = np.isfinite(comparison.truth).all(-1)
    assert valid.mean() == 0.8
    flow = np.where(reference.known[..., None], [-8, 0], [-5, 4]).astype(float)
    flow[~valid] = 100
    mismatch = np.where(np.arange(40) % 2, 0, 2 * STRIDE) * np.ones((32, 1))
    numbers = comparison.measure(stereo.Estimate(flow, mismatch))
    unknown = 1 - reference.known[valid].mean()
    assert 0 < unknown < 0.1
    np.testing.assert_allclose(
        numbers[:6], [5 * unknown, 100 - 100 * unknown, 50, STRIDE, 0, 100])
