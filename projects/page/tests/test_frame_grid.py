"""The sheet of frames on which a place is chosen."""
import numpy as np
import pytest
from frame_grid import Sheet


@pytest.mark.parametrize('query', [(0, 0, 0), (3, 2, 4), (7, 5, 9)])
def test_a_place_is_found_where_the_sheet_marks_it(seen, query):
    sheet = Sheet(seen)
    here, other = (
        sheet.draw(position).astype(int) for position in (query, (5, 3, 3)))
    changed = np.abs(here - other).any(-1)
    # The other one is in the third column.
    changed[:, 2 * here.shape[1] // 3:] = False
    rows, columns = np.nonzero(changed)
    assert sheet.position_at(columns.mean(), rows.mean()) == query
