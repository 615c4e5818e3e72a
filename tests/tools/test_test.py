"""tools/test.py and tools/dist_test.sh."""
import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch

from selfy_mmaction.evaluation.dumps import load_dump


def run_test(command, trained, tool_env, cwd, *args):
    """Test the trained checkpoint and return the predictions."""
    done = subprocess.run([
        *command, *args, '--dump', 'predictions.npz', '--cfg-options',
        *trained.options
    ],
                          cwd=cwd,
                          env=tool_env,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r'Epoch\(test\) .*acc/top1', done.stdout)
    return load_dump(str(cwd / 'predictions.npz'))


def test_two_processes_test_as_one(repo, trained, tool_env, tmp_path,
                                   free_port, class_names):
    inputs = [trained.config, trained.checkpoint]
    one = run_test([sys.executable, repo / 'tools/test.py', *inputs], trained,
                   tool_env, tmp_path, '--show-dir', 'drawn')
    two = run_test([repo / 'tools/dist_test.sh', *inputs, '2'], trained,
                   dict(tool_env, PORT=free_port), tmp_path)
    assert one.names == two.names == ['9', '10', '11', '12']
    assert one.classes == two.classes == class_names
    np.testing.assert_array_equal(one.labels, two.labels)
    assert one.scores.shape == (4, 174)
    np.testing.assert_allclose(one.scores, two.scores, 1e-4, 1e-6)

    pictures = sorted((tmp_path / 'drawn').iterdir())
    assert [p.name for p in pictures] == [
        '000000_9.png', '000001_10.png', '000002_11.png', '000003_12.png'
    ]
    # two lines of text above 8 frames of 64 x 64
    assert cv2.imread(str(pictures[0])).shape == (2 * 20 + 64, 8 * 64, 3)


@pytest.mark.parametrize(('change', 'message'), [
    ('model.backbone.selfy_indices=(0,1)',
     r'backbone.selfy.layer1.\S+ is missing \(and .*'),
    ('model.backbone.selfy_indices=()',
     r'backbone.selfy.layer2.\S+ is unknown \(and .*'),
])
def test_checkpoint_of_another_model_is_one_line(run_tool, trained, change,
                                                 message):
    code = run_tool('test', trained.config, trained.checkpoint,
                    '--cfg-options', *trained.options,
                    'test_dataloader.dataset.metainfo=None', change)
    assert re.fullmatch(
        f'test.py: error: {re.escape(trained.checkpoint)} does not fit the '
        f'model of the config: {message}', code)


def test_official_checkpoint_is_to_be_converted(run_tool, trained, tmp_path):
    path = tmp_path / 'official.pth.tar'
    weights = {'module.base_model.conv1.weight': torch.zeros(64, 3, 7, 7)}
    torch.save({'state_dict': weights}, path)
    code = run_tool('test', trained.config, path, '--cfg-options',
                    *trained.options)
    assert code.endswith('with tools/convert_checkpoint.py.')


def test_an_interval_is_positive(run_tool, trained):
    code = run_tool('test', trained.config, trained.checkpoint, '--interval',
                    '0')
    assert code == 'test.py: error: --interval 0: give 1 or more.'
