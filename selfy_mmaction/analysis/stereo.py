"""Flow from STSS against the ground truth of a stereo pair of photographs.

The two views serve as two frames: near objects have large displacements.
Nothing is trained, so this measures the operator and the features that it
compares, not a network.
"""
import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

import cv2
import numpy as np

from ..apis.flow import STRIDE, TOLERANCE, FlowEstimator, get_mismatch
from ..evaluation.tables import format_table

# Ways to obtain displacements from STSS: settings of FlowEstimator.
READINGS = {
    'argmax': dict(patch=1, peak=1),
    'soft-argmax': dict(patch=1),
    'patches, argmax': dict(peak=1),
    'patches, soft-argmax': dict(),
}
RANDOM = 'random'
# FlowEstimator with its defaults: all are compared where it is known.
REFERENCE = f'{RANDOM}, {list(READINGS)[-1]}'
# The window reaches a tenth of the width to each side: the nearest surface of
# the pair moves by 8 % of it.
_REACH = 0.1
# Those with a star are over the positions that `REFERENCE` knows.
COLUMNS = ('EPE (px)', 'in a cell (%)', 'known (%)', 'there and back (px)',
           'EPE* (px)', 'in a cell* (%)', 'warping error*')


class Pair(NamedTuple):
    """Two views, and the displacements from the first to the second.

    Attributes:
        frames (np.ndarray): The left and the right view, RGB of type uint8,
            [2, H, W, 3].
        truth (np.ndarray): Displacements (x, y) in pixels, at every pixel,
            [H, W, 2]; NaN where unknown.
    """
    frames: np.ndarray
    truth: np.ndarray


class Estimate(NamedTuple):
    """The flow of a method at [h, w] positions, one every STRIDE pixels.

    Attributes:
        flow (np.ndarray): Displacements (x, y) in pixels, [h, w, 2].
        mismatch (np.ndarray): Forward-backward errors in pixels, [h, w].
    """
    flow: np.ndarray
    mismatch: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Where the forward-backward error is within a cell, bool [h, w]."""
        return self.mismatch <= STRIDE * TOLERANCE


def load_pair(factor: int) -> Pair:
    """The motorcycle of Middlebury's stereo pairs, which scikit-image ships.

    Args:
        factor (int): Factor to shrink 500 x 741 pixels by.

    Raises:
        ValueError: Without scikit-image.
    """
    try:
        from skimage import data  # needed only here
    except ImportError as error:
        raise ValueError('the photographs come with scikit-image, which is '
                         'not installed: pip install scikit-image.') from error
    left, right, disparity = data.stereo_motorcycle()
    return shrink(np.stack([left, right]), disparity, factor)


def shrink(views: np.ndarray, disparity: np.ndarray, factor: int) -> Pair:
    """A stereo pair as two frames, of a smaller size.

    Args:
        views (np.ndarray): The left and the right view, RGB of type uint8,
            [2, H, W, 3].
        disparity (np.ndarray): Disparity of the left view in pixels, to the
            left in the right view, [H, W]; infinite, NaN or 0 where it is
            unknown.
        factor (int): Factor to shrink them by; the remainder is cut off on
            the right and at the bottom.
    """
    height, width = (size // factor for size in disparity.shape)
    rows, columns = factor * height, factor * width
    frames = np.stack([
        cv2.resize(
            view[:rows, :columns], (width, height),
            interpolation=cv2.INTER_AREA) for view in views
    ])
    # The pixel in the middle: an average could lie between two surfaces.
    x = -disparity[factor // 2:rows:factor, factor // 2:columns:factor]
    truth = np.stack([x, np.zeros_like(x)], -1) / factor
    truth[~(np.isfinite(x) & (x < 0))] = np.nan
    return Pair(frames, truth)


def get_error(flow: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Endpoint errors, [...] of [..., 2]; NaN where the truth is unknown."""
    return np.linalg.norm(flow - truth, axis=-1)


def get_warping_error(frames: np.ndarray, flow: np.ndarray) -> np.ndarray:
    """Difference between the first frame and the second one warped to it.

    Args:
        frames (np.ndarray): RGB of type uint8, [2, H, W, 3].
        flow (np.ndarray): Displacements (x, y) in pixels of the first frame,
            one every STRIDE pixels, [h, w, 2].

    Returns:
        np.ndarray: Mean absolute difference over the three channels, from 0
        to 255, [h, w].
    """
    h, w = flow.shape[:2]
    y, x = STRIDE * np.mgrid[:h, :w]
    end = np.stack([x, y], -1) + np.nan_to_num(flow)
    warped = cv2.remap(
        frames[1].astype(np.float32),
        end.astype(np.float32),
        None,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE)
    return np.abs(frames[0, ::STRIDE, ::STRIDE] - warped).mean(-1)


def estimate_by_stss(estimator: FlowEstimator, frames: np.ndarray) -> Estimate:
    """The flow of STSS between two frames, [2, H, W, 3]."""
    flow, mismatch = estimator.match(frames)
    return Estimate(flow[0], mismatch[0])


def _estimate_by_opencv(calculate: Callable, frames: np.ndarray) -> Estimate:
    left, right = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
    there, back = calculate(left, right), calculate(right, left)
    mismatch = get_mismatch(there[None], back[None])[0]
    return Estimate(there[::STRIDE, ::STRIDE], mismatch[::STRIDE, ::STRIDE])


def estimate_by_farneback(frames: np.ndarray) -> Estimate:
    """The flow of Farneback's method.

    The pyramid is finer than in OpenCV's examples (pyr_scale=0.5), which do
    not find large displacements.
    """
    return _estimate_by_opencv(
        lambda one, other: cv2.calcOpticalFlowFarneback(
            one,
            other,
            None,
            pyr_scale=0.8,
            levels=10,
            winsize=15,
            iterations=3,
            poly_n=5,
            poly_sigma=1.1,
            flags=0), frames)


def estimate_by_dis(frames: np.ndarray) -> Estimate:
    """The flow of DIS, the dense inverse search."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    return _estimate_by_opencv(lambda one, other: dis.calc(one, other, None),
                               frames)


def estimate_all(
    frames: np.ndarray, weights: Sequence[str] = ()
) -> Iterator[tuple[str, Estimate | None]]:
    """Estimate the motion by every method.

    Args:
        frames (np.ndarray): RGB of type uint8, [2, H, W, 3].
        weights (Sequence[str]): Weights of networks whose features to compare
            besides random ones, see `FlowEstimator`.

    Yields:
        tuple[str, Estimate | None]: The name of the method and its estimate,
        None if its weights cannot be downloaded.
    """
    reach = math.ceil(_REACH * frames.shape[2] / STRIDE)
    for path in (None, *weights):
        name = _name(path) if path else RANDOM
        try:
            estimators = {
                reading: FlowEstimator(path, reach, **settings)
                for reading, settings in READINGS.items()
            }
        except OSError:
            if '://' not in path:
                raise
            yield name, None
            continue
        for reading, estimator in estimators.items():
            yield f'{name}, {reading}', estimate_by_stss(estimator, frames)
    yield 'Farneback', estimate_by_farneback(frames)
    yield 'DIS', estimate_by_dis(frames)
    height, width = frames[0, ::STRIDE, ::STRIDE, 0].shape
    yield 'no motion', Estimate(
        np.zeros((height, width, 2)), np.zeros((height, width)))


def _name(path: str) -> str:
    """Name of weights: their URL, or their file without date and hash."""
    if '://' in path:
        return path
    return re.sub(r'_\d{8}-[0-9a-f]{8}$', '', PurePath(path).stem)


class Comparison:
    """The estimates of all methods for a pair.

    Args:
        pair (Pair): The two frames and the truth.
        weights (Sequence[str]): See `estimate_all`.

    Attributes:
        pair (Pair): The two frames and the truth.
        estimates (dict[str, Estimate | None]): The estimate of each method;
            None if its weights could not be downloaded.
        truth (np.ndarray): The truth of each position, [h, w, 2].
    """

    def __init__(self, pair: Pair, weights: Sequence[str] = ()) -> None:
        self.pair = pair
        self.truth = pair.truth[::STRIDE, ::STRIDE]
        self.estimates = dict(estimate_all(pair.frames, weights))
        self._valid = np.isfinite(self.truth).all(-1)
        self._known = self._valid & self.estimates[REFERENCE].known

    def measure(self, estimate: Estimate) -> list[float]:
        """The numbers of `COLUMNS`, in their order."""
        valid, known = self._valid, self._known
        error = get_error(estimate.flow, self.truth)
        inside = 100 * (error <= STRIDE)
        warping = get_warping_error(self.pair.frames, estimate.flow)
        return [
            error[valid].mean(), inside[valid].mean(),
            100 * estimate.known[valid].mean(),
            estimate.mismatch[valid].mean(), error[known].mean(),
            inside[known].mean(), warping[known].mean()
        ]

    def rows(self) -> Iterator[list[str]]:
        """A row of the table for each method, beginning with the size."""
        _, height, width, _ = self.pair.frames.shape
        size = f'{width} x {height}'
        for name, estimate in self.estimates.items():
            if estimate is None:
                cells = ['not run: no network', *['-'] * (len(COLUMNS) - 1)]
            else:
                cells = [
                    f'{value:.1f}' if '%' in column else f'{value:.2f}'
                    for column, value in zip(
                        COLUMNS, self.measure(estimate), strict=True)
                ]
            yield [size, name, *cells]

    def describe(self) -> str:
        """A note to the table."""
        _, height, width, _ = self.pair.frames.shape
        h, w = self._valid.shape
        lengths = np.linalg.norm(self.truth[self._valid], axis=-1)
        warping = get_warping_error(self.pair.frames, self.truth)
        return (
            f'{width} x {height}: {h} x {w} positions, '
            f'{self._valid.mean():.1%} of them with a truth, '
            f'{lengths.min():.1f} to {lengths.max():.1f} pixels. *: those '
            f'that "{REFERENCE}" knows; there, the truth itself has a warping '
            f'error of {warping[self._known].mean():.2f}.')


def tabulate(comparisons: Sequence[Comparison]) -> str:
    """A Markdown table of pairs and methods, and a line for each pair."""
    table = format_table(
        ['size', 'method', *COLUMNS],
        [line for comparison in comparisons for line in comparison.rows()])
    notes = [f'- {comparison.describe()}' for comparison in comparisons]
    return '\n'.join([table, '', *notes])
