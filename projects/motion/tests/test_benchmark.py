"""projects/motion/benchmark.py on a few clips, from nothing to its tables."""
import json
import sys

import bench_clips
import experiment
import pytest


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'bench'
    bench_clips.render_dataset(root, num_train=30, num_val=6)
    return root


@pytest.fixture
def run(load_tool, monkeypatch, data, tmp_path):
    """Run the tool with two networks and one ablation."""
    tool = load_tool('projects/motion/benchmark')
    monkeypatch.chdir(tmp_path)
    for table, names in ((experiment.NETWORKS, ('TSN', 'SELFY on TSM')),
                         (experiment.ABLATIONS, ('offset 1', )),
                         (experiment.ORDERS, ('MOSS of order 2 on TSM', ))):
        for name in set(table) - set(names):
            monkeypatch.delitem(table, name)

    def run(*args):
        monkeypatch.setattr(sys, 'argv', [
            'motion_benchmark.py', '--data',
            str(data), '--out', 'out', '--cfg-options',
            'train_dataloader.batch_size=10', *args
        ])
        tool.main()

    return run


def get_cells(path):
    """Name -> cells of a Markdown table."""
    rows = [
        line.strip('| ').split(' | ')
        for line in path.read_text().splitlines()
    ]
    return {row[0]: dict(zip(rows[0], row, strict=True)) for row in rows[2:]}


def test_from_no_result_to_tables_and_again(run, tmp_path):
    with pytest.raises(SystemExit) as exit_info:
        run('--table-only')
    assert 'out/tsn_r18_motion_bench/seed_0/result.json is missing' in str(
        exit_info.value)
    run('--seeds', '0', '1', '--ablations', '--orders')
    out = tmp_path / 'out'
    table = get_cells(out / 'table.md')
    assert list(table) == ['TSN', 'SELFY on TSM']
    # The block costs something.
    assert float(table['SELFY on TSM']['GMACs']) > float(
        table['TSN']['GMACs']) > 0

    # The table has the accuracies of the predictions.
    results = {
        seed:
        json.loads(
            (out /
             f'tsn_r18_motion_bench/seed_{seed}/result.json').read_text())
        for seed in (0, 1)
    }
    clips = bench_clips.list_clips('val', 'fast', 6, seed=0)
    right = [
        100 / 6 * sum(result['predictions'][clip.name[:-4]] == clip.label
                      for clip in clips) for result in results.values()
    ]
    mean, spread = table['TSN']['fast'].split(' ± ')
    assert float(mean) == pytest.approx(sum(right) / 2, abs=0.06)
    assert float(spread) == pytest.approx(
        abs(right[0] - right[1]) / 2**0.5, abs=0.06)
    # Its mean over the classes is that of the split.
    classes = get_cells(out / 'classes.md')['TSN']
    assert list(classes)[1:] == list(bench_clips.CLASSES)
    means = [float(cell.split()[0]) for cell in list(classes.values())[1:]]
    assert sum(means) / 6 == pytest.approx(float(mean), abs=0.11)
    for name in 'curves.svg', 'frames.png':
        assert (out / name).stat().st_size > 10_000
    ablations = get_cells(out / 'ablations.md')
    assert list(ablations) == ['SELFY on TSM', 'offset 1']
    # One offset is compared instead of seven, or one order more.
    orders = get_cells(out / 'orders.md')['MOSS of order 2 on TSM']
    assert float(ablations['offset 1']['GMACs']) < float(
        ablations['SELFY on TSM']['GMACs']) < float(orders['GMACs'])

    # A second run only tabulates.
    kept = {p: p.stat().st_mtime_ns for p in out.rglob('*.pth')}
    text = (out / 'table.md').read_text()
    (out / 'table.md').unlink()
    run('--seeds', '0', '1')
    assert {p: p.stat().st_mtime_ns for p in out.rglob('*.pth')} == kept
    assert (out / 'table.md').read_text() == text

    # Chosen designs have a table and pictures; what is there is not trained.
    names = ['offset 1', 'SELFY on TSM, 2 epochs']
    run('--seeds', '0', '1', '--designs', *names)
    for name in 'designs.svg', 'designs_curves.svg':
        assert (out / name).stat().st_size > 10_000
    assert kept.items() < {
        p: p.stat().st_mtime_ns
        for p in out.rglob('*.pth')
    }.items()
    table = get_cells(out / 'designs.md')
    assert list(table) == names
    for row in table.values():
        assert float(row['ms / clip']) > 0
        assert ' ± ' in row['slow']

    # What is of another budget, of other clips or unknown is refused.
    (tmp_path / 'quickstart').mkdir()
    (tmp_path / 'quickstart/motion.json').write_text('{"train": 8}')
    for args, message in (
        (['optim_wrapper.optimizer.lr=0.1', '--seeds',
          '0'], 'was made with another config: remove'),
        (['--data', 'quickstart'], 'quickstart holds other clips'),
        (['--designs',
          'order 7'], "--designs 'order 7' is unknown: give some of "),
    ):
        with pytest.raises(SystemExit) as exit_info:
            run(*args)
        assert message in str(exit_info.value)
