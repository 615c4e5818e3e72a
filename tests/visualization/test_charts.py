"""Pictures of predictions and of tests."""
import cv2
import numpy as np

from selfy_mmaction.apis.sliding import Segment
from selfy_mmaction.evaluation.confusions import find_confusions
from selfy_mmaction.visualization import charts


def test_timeline_names_any_class(tmp_path):
    names = 'costs $5', r'$\frac$', '$^$'
    best = [dict(label=0, name=name, score=.3) for name in names]
    path = tmp_path / 'line.png'
    charts.draw_timeline(
        [Segment(0, 1, best), Segment(1, 2, best)], '$_$/$^$.mp4', path)
    assert path.stat().st_size > 1000


def test_the_first_clips_of_a_confusion_are_drawn(tmp_path):
    colors = np.array(
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255]],
        np.uint8)
    # the surest first
    sure = np.array([.6, .9, .2, .7, .8])
    confusion, = find_confusions(
        np.stack([1 - sure, sure], axis=1), np.array([0, 0, 0, 0, 1]), limit=5)
    assert confusion[:2] == (0, 1)
    assert confusion.clips.tolist() == [1, 3, 0] and confusion.total == 4
    path = tmp_path / 'confusions.png'
    charts.draw_confusions([confusion], ['x', 'y'], lambda i:
                           (np.broadcast_to(colors[i],
                                            (8, 16, 20, 3)), f'clip {i}'),
                           str(path))
    picture = cv2.imread(str(path)).reshape(-1, 3)[:, ::-1]
    shown = [(picture == color).all(1).sum() > 1000 for color in colors]
    assert shown == [True, True, False, True, False]


def test_classes_taken_for_each_other_stand_side_by_side():
    matrix = 10 * np.eye(6, dtype=int)
    matrix[0, 4] = matrix[4, 0] = 6
    matrix[1, 5] = 3
    matrix[3] = 0
    order = charts.order_by_confusion(matrix).tolist()
    assert sorted(order) == list(range(6))
    assert abs(order.index(0) - order.index(4)) == 1
    assert abs(order.index(1) - order.index(5)) == 1
    assert charts.order_by_confusion(matrix[:2, :2]).tolist() == [0, 1]


def test_cells_of_a_matrix_are_apart(tmp_path):
    """Also where two of 100 % have a side in common."""
    matrix = np.zeros((100, 100), int)
    matrix[:, 0] = 7
    path = tmp_path / 'matrix.png'
    charts.draw_confusion_matrix(matrix, [str(i) for i in range(100)], path)
    full = (cv2.imread(str(path))[..., ::-1] == (8, 48, 107)).all(2)
    # without the colour bar, on the right
    column = full[:, full[:, :full.shape[1] // 2].sum(0).argmax()]
    assert (np.diff(column.astype(int)) == 1).sum() == 100
