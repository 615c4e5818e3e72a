"""tools/eval_protocol.py: a row of the paper, by two processes."""
import re
import subprocess
import sys

import numpy as np
import torch

from selfy_mmaction.evaluation.dumps import load_dump


def test_a_row_of_the_paper(repo, save_checkpoint, tiny_config, tiny,
                            sthv1_root, tool_env, free_port, tmp_path):
    # random weights, which suit any number of frames
    weights = save_checkpoint(tiny_config, tmp_path / 'weights.pth')
    # Two processes get three clips each, one of them twice.
    lines = (sthv1_root / 'sthv1_train_list_rawframes.txt').read_text()
    lines = lines.splitlines()[:5]
    (tmp_path / 'odd.txt').write_text('\n'.join(lines))
    command = [sys.executable, repo / 'tools/eval_protocol.py']
    command += ['sthv1_8_16_2clip', '--checkpoints', weights, weights]
    command += ['--gpus', '2', '--work-dir', 'row', '--cfg-options', *tiny]
    done = subprocess.run(
        [*command, f'test_dataloader.dataset.ann_file={tmp_path}/odd.txt'],
        cwd=tmp_path,
        env=dict(tool_env, PORT=free_port),
        capture_output=True,
        text=True)
    assert done.returncode == 0, done.stderr
    assert ('How sure the recipe is: official; average and second clip of '
            'TSM.\nTheir logits are averaged.\n5 samples ') in done.stdout
    *_, together, last = done.stdout.splitlines()
    accuracy = together.split()[1]
    assert re.fullmatch(f'.* {accuracy}, in the paper 56.6', last)

    for config in 'selfy_tsm_r50', 'selfy_tsm_r50_1x1x16':
        dump = load_dump(f'{tmp_path}/row/{config}_sthv1_2clip.npz')
        names, _, labels = zip(*map(str.split, lines), strict=True)
        assert dump.names == [*names] and dump.kind == 'logits'
        assert dump.labels.tolist() == [*map(int, labels)]
        assert len(np.unique(dump.scores.round(3), axis=0)) == 5


def test_bad_input_is_one_line(run_tool, tmp_path, capfd):
    args = 'eval_protocol', 'sthv1_16', '--checkpoints', 'a.pth'
    assert 'a.pth does not exist.' in run_tool(*args)
    assert '--gpus 0: give 1 or more.' in run_tool(*args, '--gpus', '0')
    torch.save({}, tmp_path / 'a.pth')
    message = run_tool(*args, '--cfg-options', 'no.such.0.key=1')
    assert message == ('eval_protocol.py: error: the test of selfy_tsm_r50_'
                       '1x1x16_sthv1 failed, see above.')
    assert 'test.py: error: ' in capfd.readouterr().err
