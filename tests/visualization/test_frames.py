"""Pictures of frames."""
import numpy as np

from selfy_mmaction.visualization.frames import draw_label


def test_label_is_legible_on_any_frame():
    for shape in (49, 65, 3), (720, 1280, 3):
        frame = np.full(shape, 200, np.uint8)
        plain = draw_label(frame, '')
        assert plain.shape[1] >= 320
        assert not any(side % 2 for side in plain.shape[:2])
        for text in 'Überqueren', 120 * 'long ':
            difference = (draw_label(frame, text) != plain).any(-1)
            assert 0.001 < difference.mean() < 1
