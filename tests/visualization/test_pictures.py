"""The picture of what a block sees."""
import numpy as np
import pytest
import torch

from selfy_mmaction.apis.similarity import SelfSimilarity
from selfy_mmaction.visualization.pictures import draw, to_image


def test_drawing_shows_the_query(seen):
    here, there = (
        to_image(draw(seen, [position], 'title')).astype(int)
        for position in [(3, 2, 2), (3, 2, 6)])
    assert here.shape == there.shape
    height = here.shape[0]
    # The rows of the query and the clip differ, the header does not.
    assert not np.abs(here - there)[:height // 12].any()
    assert np.abs(here - there)[height // 4:].any()


def test_a_phone_gets_a_narrow_picture(seen):
    wide, narrow = (
        draw(seen, [(3, 2, 2)], 'title', columns) for columns in (None, 2))
    assert narrow.get_figwidth() <= 4 < wide.get_figwidth()
    # the frames, no smaller
    sides = [[
        ax.get_window_extent().width / figure.dpi for part in figure.subfigs
        for ax in part.axes[:5]
    ] for figure in (wide, narrow) if to_image(figure).size]
    assert len(sides[0]) == len(sides[1])
    assert min(sides[1]) > 0.9 * min(sides[0])


@pytest.mark.parametrize('offsets, inside', [((1, ), range(7)),
                                             ((0, 1, 2, 3), range(5)),
                                             ((-3, 3), range(3, 5)),
                                             ((-2, -1), range(2, 8))])
def test_any_offsets_are_followed(seen, offsets, inside):
    """A scene that moves by a cell per frame, to the right."""
    T, h, w, _, U, V = seen.similarities.shape
    similarities = torch.zeros(T, h, w, len(offsets), U, V)
    for l, offset in enumerate(offsets):
        similarities[..., l, U // 2, V // 2 + offset] = 1
        for t in range(T):
            similarities[t, ..., l, :, :] *= 0 <= t + offset < T
    # most outside of the frames, then where neighbours are missing
    energy = torch.ones(T, h, w)
    energy[:, 0, 0] = 9
    energy[[t for t in range(T) if t not in inside], 2, 2] = 8
    energy[inside[0], 2, 4] = 2
    moving = SelfSimilarity(seen.frames, similarities, offsets, energy, [])
    assert moving.strongest(1) == [(inside[0], 2, 4)]
    titles = [
        ax.get_title() for part in draw(moving, [(4, 2, 4)], '').subfigs[1:3]
        for ax in part.axes[:len(offsets)]
    ]
    assert titles[len(offsets):] == [f'to frame {4 + o}' for o in offsets]
    for title, offset in zip(titles, offsets, strict=False):
        assert title.startswith(f'frame {4 + offset}: ')
        assert ('the query' in title) == (offset == 0)
        assert ('before' in title) == (offset < 0)


def test_where_all_is_alike_no_arrow_is_drawn(seen):
    maps = torch.where(seen.similarities == 0, 0., 0.9)
    alike = SelfSimilarity(seen.frames, maps, seen.offsets, seen.energy, [])
    for case, expected in (alike, 4), (seen, 0):
        row = draw(case, [(3, 3, 5)], '').subfigs[1]
        texts = [text.get_text() for ax in row.axes for text in ax.texts]
        assert texts.count('all alike') == expected
