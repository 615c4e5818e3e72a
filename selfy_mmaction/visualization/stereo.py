"""The picture of a comparison with the ground truth of a stereo pair."""
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from ..analysis.stereo import READINGS, Comparison, get_error
from ..apis.flow import STRIDE
from .charts import save
from .flow import flow_to_color


def draw_comparison(comparison: Comparison, path: Path) -> None:
    """Draw the estimates for a pair beside the truth, and their errors.

    All have the same colour scales. For STSS, the reading of `FlowEstimator`
    is shown for each kind of features.

    Args:
        comparison (Comparison): The pair and the estimates.
        path (Path): The picture to write.
    """
    reading = list(READINGS)[-1]
    shown = {
        name.replace(', ', ',\n', 1): estimate
        for name, estimate in comparison.estimates.items()
        if estimate and (name.endswith(f', {reading}') or ', ' not in name)
    }
    del shown['no motion']
    truth = comparison.truth
    longest = np.nanmax(np.linalg.norm(truth, axis=-1))
    h, w, _ = truth.shape
    figure = Figure((2.6 * len(shown) + 3.2, 5.2 * h / w + 0.7),
                    layout='constrained')
    (top, bottom), *columns = figure.subplots(
        2, len(shown) + 1, squeeze=False).T
    top.imshow(flow_to_color(truth, longest))
    top.set_title('truth', size=9)
    bottom.imshow(comparison.pair.frames[0])
    bottom.set_title('first frame', size=9)
    for (name, estimate), (top, bottom) in zip(
            shown.items(), columns, strict=True):
        flow = np.where(estimate.known[..., None], estimate.flow, np.nan)
        top.imshow(flow_to_color(flow, longest))
        top.set_title(name, size=9)
        image = bottom.imshow(
            get_error(estimate.flow, truth),
            'inferno',
            vmin=0,
            vmax=2 * STRIDE)
        bottom.set_facecolor('0.8')
    figure.colorbar(
        image, ax=columns[-1][1], label='error (pixels)', extend='max')
    for axes in figure.axes[:2 * len(shown) + 2]:
        axes.set(xticks=[], yticks=[])
    save(figure, path)
