"""The curves of trainings."""
import numpy as np
import pytest
from logs import write_log

from selfy_mmaction.evaluation.logs import load_curves


def test_resumed_training_is_one_curve(tmp_path):
    nan = float('nan')
    write_log(tmp_path, '20260102_100000', {20: 1.25, 40: nan}, {2: .75})
    # killed while it wrote
    write_log(
        tmp_path,
        '20260101_100000', {
            10: 2.,
            20: 1.5,
            30: 1.5
        }, {
            1: .5,
            2: .5
        },
        end='{"loss": 1.2')
    curves = load_curves(str(tmp_path))
    assert curves['loss'].steps == [10, 20, 40]
    np.testing.assert_array_equal(curves['loss'].values, [2, 1.25, nan])
    assert curves['acc/top1'] == ('epoch', [1, 2], [.5, .75])


@pytest.mark.parametrize('line', [
    '3', 'loss 0.5', '{"loss": 0.5}', '{"loss": {}, "step": 1}', '\0\xff',
    10**5 * '[', '{"step": ' + 10**4 * '9' + '}'
])
def test_damaged_log_is_refused(tmp_path, line):
    write_log(tmp_path, '20260101_100000', {20: 2.}, {1: .5}, f'{line}\n')
    with pytest.raises(ValueError, match='line 3 of .* is not a log entry'):
        load_curves(str(tmp_path))
