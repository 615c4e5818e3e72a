"""The model zoo's files against the configs."""
import re
import shutil
from pathlib import Path

import pytest
from mmengine.config import Config
from modelindex.load_model_index import load
from motion_clips import render_dataset
from update_zoo import DATASETS, Zoo, describe

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.evaluation.dumps import KINDS

COST = dict(flops=2_000_000_000, params=3_000_000)


@pytest.fixture
def zoo(repo):
    return Zoo(repo)


@pytest.fixture
def copy(repo, tmp_path):
    """A copy of what the tools rewrite, and of what they read."""
    for name in 'configs', 'docs':
        shutil.copytree(repo / name, tmp_path / name)
    return Zoo(tmp_path)


def test_model_index_package_accepts_the_index(repo, zoo):
    index = load(str(repo / 'model-index.yml'))
    assert index.check(silent=True) == []
    assert {model.name for model in index.models} == set(zoo.models)
    for model in index.models:
        assert (repo / model.config).is_file()
        assert model.metadata.flops > model.metadata.parameters > 0
        assert model.full_model.paper['URL'].startswith('https://arxiv.org/')
        if model.weights and '://' not in model.weights:
            assert (repo / model.weights).is_file()


def test_files_are_what_the_tool_would_write(zoo, copy):
    """All but the complexity, which takes minutes to measure."""
    copy.write()
    assert copy.metafile.read_text() == zoo.metafile.read_text()
    assert copy.page.read_text() == zoo.page.read_text()
    copy.page.write_text('# Model zoo\n')
    with pytest.raises(ValueError, match='has no lines "<!-- begin of netw'):
        copy.write()
    copy.update(measure=lambda cfg, size: COST)
    for models in zoo.models, copy.models:
        assert list(models) == sorted(models)
        for model in models.values():
            del model['Metadata']['FLOPs'], model['Metadata']['Parameters']
    assert copy.models == zoo.models
    assert set(DATASETS.values()) == {
        model['Metadata']['Training Data']
        for model in zoo.models.values()
    }


def test_rows_of_the_paper(zoo):
    assert [
        row['Paper'] for row in zoo.rows.values()
    ] == [52.5, 54.3, 55.8, 56.6, 64.5, 65.7, 67.7, 77.1, 41.6] + [87.7, 49.5]
    for row in zoo.rows.values():
        assert {row['Dataset']} == {
            zoo.models[config]['Metadata']['Training Data']
            for config in row['Configs']
        }
        metric = 'Mean Class' if 'FineGym' in row['Dataset'] else 'Top 1'
        assert row['Metric'] == f'{metric} Accuracy'
        # The average of two networks is named.
        assert ('Average' in row) == (len(row['Configs']) > 1)
        assert row.get('Average', 'logits') in KINDS
        assert re.match('(official|same authors|ours)(;|$)', row['Recipe'])


def test_new_removed_and_private_configs(copy):
    configs = copy.root / 'configs'
    (configs / 'tsn_r50_sthv2.py').unlink()
    new, private = 'selfy_tsm_r18_sthv2_2clip', 'selfy_tsm_r50_my_dives'
    for name in new, private:
        (configs / f'{name}.py').write_text(
            "_base_ = 'selfy_tsm_r50_sthv2.py'\nauto_scale_lr = "
            "dict(base_batch_size=96)\ntrain_cfg = dict(max_epochs=7)\n")
    measured = []
    before = dict(copy.models)
    copy.update([new], lambda cfg, size: measured.append(cfg) or COST)
    assert len(measured) == 1
    entry = copy.models.pop(new)
    assert copy.models == before
    assert 'Weights' not in entry and 'Results' not in entry
    assert entry['In Collection'] == 'SELFY'
    assert entry['Metadata'] == {
        'Architecture': ['ResNet-18', 'TSM', 'SELFY'],
        'Batch Size': 96,
        'Epochs': 7,
        'FLOPs': 2_000_000_000,
        'Parameters': 3_000_000,
        'Frames': 8,
        'Resolution': '224x224',
        'Training Data': 'Something-Something V2'
    }
    copy.update(measure=lambda cfg, size: COST)
    assert copy.models.keys() == before.keys() - {'tsn_r50_sthv2'} | {new}
    for name, error, words in ((private, ValueError,
                                r'is not named .*\(sthv1, '),
                               ('tsm_r18_k400', FileNotFoundError,
                                'r18_k400.py does not exist')):
        with pytest.raises(error, match=words):
            copy.update([name])


@pytest.mark.parametrize('name', [
    'my_net', 'vit_b16_k400', 'selfy_videomae_k400', 'tsm_r50_motion_blur',
    'tsm_r50_k400_mini', 'tsm_r50_1x1x16_sthv1_2clips'
])
def test_configs_outside_the_convention_are_named(name):
    with pytest.raises(ValueError, match=f'config {name} is not named'):
        describe(name, Config(), COST)


def test_transformers_are_described(repo):
    name = 'vit_b16_videomae_k400'
    cfg = Config.fromfile(repo / f'configs/selfy_{name}.py')
    for collection, entry in (('SELFY', describe(f'selfy_{name}', cfg, COST)),
                              ('VideoMAE', describe(name, cfg, COST))):
        assert entry['In Collection'] == collection
        assert entry['Metadata']['Architecture'][:2] == [
            'ViT-B/16', 'VideoMAE'
        ]
        assert entry['Metadata']['Frames'] == 16


def test_a_published_network_is_entered(copy):
    name = 'selfy_tsm_r50_1x1x16_sthv1'
    file = copy.root / f'checkpoints/{name}_20260101-0123abcd.pth'
    meta = dict(epoch=6, accuracies={'Top 1 Accuracy': 50.12})
    for url, link in (('https://host/zoo/', f'https://host/zoo/{file.name}'),
                      (None, f'../checkpoints/{file.name}')):
        copy.enter(file, meta, url)
        copy.write()
        line, = re.findall(rf'^\| \[{name}\].*$', copy.page.read_text(), re.M)
        assert line.endswith(
            f'| top-1 54.3 | top-1 50.12 | [{file.name}]({link}) |')
    # Its epochs and accuracies stay, beside those of the paper.
    copy = Zoo(copy.root)
    copy.update([name], lambda cfg, size: COST)
    model = copy.models[name]
    assert model['Metadata']['Epochs'] == 6
    metrics = model['Results'][0]['Metrics']
    assert [*metrics.values()] == [54.3, 50.12]
    assert [*metrics] == ['Paper Top 1 Accuracy', 'Top 1 Accuracy']
    for path, words in (
        (file, r'no accuracies .* \(top-1 50.12\): publish it with --dump'),
        (Path('/', file.name), 'is not in this repository: give the --url'),
        (Path('epoch_6.pth'), 'epoch_6.pth is not named NAME_DATE-HASH.pth')):
        with pytest.raises(ValueError, match=words):
            copy.enter(path, dict(epoch=6), None)


def test_published_network_names_motions(published, tmp_path):
    config, checkpoint = published
    predict = VideoPredictor(Config.fromfile(config), checkpoint, 'cpu')
    render_dataset(tmp_path / 'motion', num_train=8, num_val=24, seed=1)
    lines = (tmp_path / 'motion/val.txt').read_text().splitlines()
    right = 0
    for file, label in map(str.split, lines):
        best, = predict(str(tmp_path / 'motion/videos' / file), topk=1)
        right += best['label'] == int(label)
    assert right >= 0.8 * len(lines)
