"""tools/test.py and tools/dist_test.sh."""
import re
import subprocess

import cv2
import numpy as np
import torch

from selfy_mmaction.evaluation.dumps import load_dump


def test_two_processes_test_as_one(repo, trained, call_tool, tool_env,
                                   tmp_path, free_port, class_names):
    drawn, dumps = tmp_path / 'drawn', [tmp_path / f'{i}.npz' for i in '12']
    inputs = trained.config, trained.checkpoint
    options = '--work-dir', tmp_path, '--cfg-options', *trained.options
    call_tool('test', *inputs, '--dump', dumps[0], '--show-dir', drawn,
              *options)
    done = subprocess.run([
        repo / 'tools/dist_test.sh', *inputs, '2', '--dump', dumps[1], *options
    ],
                          env=dict(tool_env, PORT=free_port),
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert re.search(r'Epoch\(test\) .*acc/top1', done.stdout)
    one, two = map(load_dump, map(str, dumps))
    assert one.names == two.names == ['9', '10', '11', '12']
    assert one.classes == two.classes == class_names
    np.testing.assert_array_equal(one.labels, two.labels)
    assert one.scores.shape == (4, 174)
    np.testing.assert_allclose(one.scores, two.scores, 1e-4, 1e-6)

    pictures = sorted(drawn.iterdir())
    assert [p.name for p in pictures] == [
        '000000_9.png', '000001_10.png', '000002_11.png', '000003_12.png'
    ]
    # two lines of text above 8 frames of 64 x 64
    assert cv2.imread(str(pictures[0])).shape == (2 * 20 + 64, 8 * 64, 3)


def test_bad_input_is_one_line(run_tool, published, motion_options, tmp_path):
    official = tmp_path / 'official.pth.tar'
    weights = {'module.base_model.conv1.weight': torch.zeros(64, 3, 7, 7)}
    torch.save({'state_dict': weights}, official)
    config, checkpoint = published
    assert run_tool(
        'test', config, official, '--cfg-options',
        *motion_options).endswith('with tools/convert_checkpoint.py.')
    assert run_tool('test', config, checkpoint, '--interval',
                    0) == ('test.py: error: --interval 0: give 1 or more.')
