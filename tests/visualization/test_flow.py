"""The colours of motion."""
import numpy as np

from selfy_mmaction.visualization.flow import flow_to_color


def test_colors_of_displacements():
    directions = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
    colors = flow_to_color(directions).astype(int)
    # four directions, four colours, however long the longest is
    assert np.abs(colors[:, None] -
                  colors).sum(-1)[~np.eye(4, dtype=bool)].min() > 200
    assert (flow_to_color(7 * directions) == colors).all()
    # with a scale, a half is paler, and more than the whole looks the same
    lengths = np.outer([0, 0.5, 1, 2], directions[1]).reshape(2, 2, 2)
    (still, half), (whole, more) = flow_to_color(lengths, max_length=1)
    assert (still == 255).all()
    assert half.min() > whole.min()
    assert (whole == more).all() and (whole == colors[1]).all()
    assert (flow_to_color([[np.nan, 0]]) == 0).all()
