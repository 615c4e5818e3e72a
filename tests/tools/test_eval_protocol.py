"""tools/eval_protocol.py: a row of the paper, by one and by two processes."""
import subprocess
import sys

import numpy as np
import torch

from selfy_mmaction.evaluation.dumps import load_dump

ROW = 'sthv1_8_16_2clip'


def test_one_and_two_processes_agree(repo, save_checkpoint, tiny_config, tiny,
                                     sthv1_root, tool_env, free_port,
                                     tmp_path):
    # random weights, which suit any number of frames
    weights = save_checkpoint(tiny_config, tmp_path / 'weights.pth')
    lines = [
        line for split in ('val', 'train') for line in (
            sthv1_root /
            f'sthv1_{split}_list_rawframes.txt').read_text().splitlines()
    ]
    # Two processes get three each, one of them twice.
    (tmp_path / 'odd.txt').write_text('\n'.join(lines[:5]))
    reports = {}
    for gpus in '1', '2':
        done = subprocess.run([
            sys.executable, repo / 'tools/eval_protocol.py', ROW,
            '--checkpoints', weights, weights, '--gpus', gpus, '--work-dir',
            gpus, '--cfg-options', *tiny,
            f'test_dataloader.dataset.ann_file={tmp_path}/odd.txt'
        ],
                              cwd=tmp_path,
                              env={
                                  **tool_env, 'PORT': free_port
                              },
                              capture_output=True,
                              text=True)
        assert done.returncode == 0, done.stderr
        assert ('How sure the recipe is: official; average and second clip of '
                'TSM.\nTheir logits are averaged.\n5 samples ') in done.stdout
        report = done.stdout[done.stdout.index('5 samples'):].splitlines()
        reports[gpus] = [line.split()[1:] for line in report]
        assert report[-1].endswith(', in the paper 56.6')
        assert report[-1].split()[3].rstrip(',') == reports[gpus][3][0]
    assert len(reports['1']) == 5
    assert reports['1'] == reports['2']

    for config in 'selfy_tsm_r50', 'selfy_tsm_r50_1x1x16':
        one, two = (
            load_dump(str(tmp_path / f'{gpus}/{config}_sthv1_2clip.npz'))
            for gpus in '12')
        assert one.names == two.names == [
            line.split()[0] for line in lines[:5]
        ]
        assert one.kind == two.kind == 'logits'
        assert one.labels.tolist() == two.labels.tolist()
        np.testing.assert_allclose(one.scores, two.scores, 1e-4, 1e-6)
        assert len(np.unique(one.scores.round(3), axis=0)) == 5


def test_wrong_arguments(run_tool):
    args = 'eval_protocol', 'sthv1_16', '--checkpoints', 'a.pth'
    assert 'a.pth does not exist.' in run_tool(*args)
    assert '--gpus 0: give 1 or more.' in run_tool(*args, '--gpus', '0')


def test_failing_test_is_named(run_tool, tmp_path, capfd):
    torch.save({}, tmp_path / 'empty.pth')
    message = run_tool('eval_protocol', 'sthv1_16', '--checkpoints',
                       'empty.pth', '--cfg-options', 'no.such.0.key=1')
    assert message == ('eval_protocol.py: error: the test of selfy_tsm_r50_'
                       '1x1x16_sthv1 failed, see above.')
    assert 'test.py: error: ' in capfd.readouterr().err
