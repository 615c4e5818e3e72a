"""The networks of the motion benchmark, and what is made of results."""
import json

import bench_clips
import experiment
import pytest


def test_ranges_of_the_curve_are_those_of_the_splits(tmp_path):
    settings = dict(train=60, val=6, seed=0)
    (tmp_path / 'motion.json').write_text(json.dumps(settings))
    clips = bench_clips.list_dataset(settings)
    result = dict(
        predictions={
            clip.name[:-4]: clip.label if clip.split == 'fast' else -1
            for split in bench_clips.SPLITS
            for clip in clips[split]
        })
    study = experiment.Study(tmp_path, {experiment.Run('TSM', 0): result})
    cells, accuracies = study.curve('TSM')
    low, high = bench_clips.SPLITS['fast'].displacement
    fast = (low < cells) & (cells < high)
    assert fast.any() and not fast.all()
    assert (accuracies[0] == 100 * fast).all()


@pytest.mark.parametrize('name', experiment.DESIGNS)
def test_every_design_changes_the_block_and_the_budget_alone(name, repo):
    network, _, epochs = experiment.DESIGNS[name]
    base = experiment.Run(network, 0).load_config(repo / 'configs', {})
    cfg = experiment.Run(name, 0).load_config(repo / 'configs', {})
    assert (cfg.to_dict() == base.to_dict()) == (name == network)
    assert cfg.train_cfg.max_epochs == epochs
    for part in 'train_cfg', 'param_scheduler':
        cfg[part] = base[part]
    for key in 'selfy', 'selfy_indices':
        cfg.model.backbone[key] = base.model.backbone[key]
    assert cfg.to_dict() == base.to_dict()
