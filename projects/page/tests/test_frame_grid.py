"""The frames on which a place is chosen, and the place that is the default."""
import numpy as np
import pytest
import torch
from frame_grid import FrameGrid

from selfy_mmaction.apis.similarity import SelfSimilarity


@pytest.mark.parametrize('columns', [None, 8])
@pytest.mark.parametrize('query', [(0, 0, 0), (3, 2, 4), (7, 5, 9)])
def test_a_place_is_found_where_the_grid_marks_it(seen, query, columns):
    grid = FrameGrid(seen, columns)
    here, other = (
        grid.draw(position).astype(int) for position in (query, (5, 3, 3)))
    changed = np.abs(here - other).any(-1)
    left, top = grid._corner(5)
    changed[top:top + grid._size[1], left:left + grid._size[0]] = False
    rows, columns = np.nonzero(changed)
    assert grid.position_at(columns.mean(), rows.mean()) == query


def test_beside_the_frames_is_no_place(seen):
    grid = FrameGrid(seen)
    height, width, _ = grid.draw((0, 0, 0)).shape
    assert grid.position_at(width - 9, height - 9) is None  # the ninth cell
    assert grid.position_at(grid._size[0] + 3, 20) is None  # a gap


def test_the_clearest_place_moves_and_is_distinct(seen):
    """One moves, one moves farther but alike, one farther at random."""
    T, h, w, L, U, V = seen.similarities.shape
    maps = torch.full((T, h, w, L, U, V), 0.1)
    for l, offset in enumerate(seen.offsets):
        maps[..., l, U // 2, V // 2] = 1
        maps[:, 2:5, 2:8, l] = 0.1
        maps[:, 2, 3, l, U // 2, V // 2 + offset] = 1
        maps[:, 4, 3, l] = 0.99
        maps[:, 4, 3, l, U // 2, V // 2 + 2 * offset] = 1
        maps[:, 3, 6, l, 2 * l % U, 0] = 1
    energy = torch.ones(T, h, w)
    moving = SelfSimilarity(seen.frames, maps, seen.offsets, energy, [])
    assert moving.clearest()[1:] == (2, 3)
    # Nothing moves: where the block adds most.
    maps[:] = 0.1
    energy[4, 3, 5] = 2
    assert moving.clearest() == (4, 3, 5)
