"""The model zoo's files against the configs."""
import re
import shutil

import pytest
import yaml
from mmengine.config import Config
from modelindex.load_model_index import load
from motion_clips import render_dataset

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.evaluation.complexity import get_complexity
from selfy_mmaction.evaluation.dumps import KINDS
from selfy_mmaction.evaluation.zoo import COLLECTIONS, DATASETS, Zoo, describe


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
    copy.update(lambda cfg, size: dict(flops=0, params=0))
    for models in zoo.models, copy.models:
        assert list(models) == sorted(models)
        for model in models.values():
            del model['Metadata']['FLOPs'], model['Metadata']['Parameters']
    assert copy.models == zoo.models

    again = Zoo(copy.root)
    again.write()
    for written, kept in ((again.metafile, zoo.metafile), (again.page,
                                                           zoo.page)):
        assert written.read_text() == kept.read_text()


@pytest.mark.parametrize('name', ['selfy_tsm_r18_motion', 'tsn_r18_motion'])
def test_complexity_is_the_measured_one(repo, zoo, name):
    cfg = Config.fromfile(repo / f'configs/{name}.py')
    metadata = zoo.models[name]['Metadata']
    assert metadata['Resolution'] == '64x64'
    measured = get_complexity(cfg, (64, 64))
    assert metadata['FLOPs'] == measured['flops']
    assert metadata['Parameters'] == measured['params']


def test_complexity_of_the_main_configs(zoo):
    """The numbers of the official code."""
    for name, flops, params in (('selfy_tsm_r50_sthv1', 36.1, 24.8),
                                ('selfy_tsm_r50_1x1x16_sthv1', 72.2,
                                 24.8), ('tsm_r50_sthv1', 32.9, 23.9)):
        metadata = zoo.models[name]['Metadata']
        assert round(metadata['FLOPs'] / 1e9, 1) == flops
        assert round(metadata['Parameters'] / 1e6, 1) == params


def test_rows_of_the_paper(zoo):
    published = {
        'sthv1_8': 52.5,
        'sthv1_16': 54.3,
        'sthv1_8_16': 55.8,
        'sthv1_8_16_2clip': 56.6,
        'sthv2_8': 64.5,
        'sthv2_16': 65.7,
        'sthv2_8_16_2clip': 67.7,
        'k400_16': 77.1,
        'diving48_v1_16': 41.6,
        'gym99_16': 87.7,
        'gym288_16': 49.5
    }
    assert {name: row['Paper'] for name, row in zoo.rows.items()} == published
    for row in zoo.rows.values():
        data = {
            zoo.models[config]['Metadata']['Training Data']
            for config in row['Configs']
        }
        assert data == {row['Dataset']}
        gym = 'FineGym' in row['Dataset']
        assert row['Metric'] == ('Mean Class Accuracy'
                                 if gym else 'Top 1 Accuracy')
        # The average of two networks is named.
        assert ('Average' in row) == (len(row['Configs']) > 1)
        assert row.get('Average', 'logits') in KINDS
        assert row['Recipe'].split(';')[0] in ('official', 'same authors',
                                               'ours')


def test_paper_and_measured_accuracies_are_kept_apart(copy):
    name = 'selfy_tsm_r50_1x1x16_sthv1'
    copy.enter(name, 'https://host/a.pth', {'Top 1 Accuracy': 50.123})
    copy.write()
    found = Zoo(copy.root)
    found.update(lambda cfg, size: dict(flops=1, params=1))
    model = found.models[name]
    assert model['Results'][0]['Metrics'] == {
        'Paper Top 1 Accuracy': 54.3,
        'Top 1 Accuracy': 50.12
    }
    line, = re.findall(rf'^\| \[{name}\].*$', copy.page.read_text(), re.M)
    assert line.endswith(
        '| top-1 54.3 | top-1 50.12 | [a.pth](https://host/a.pth) |')


def test_new_and_removed_configs(copy):
    (copy.root / 'configs/tsn_r50_sthv2.py').unlink()
    (copy.root / 'configs/selfy_tsm_r18_sthv2_2clip.py').write_text(
        "_base_ = 'selfy_tsm_r50_sthv2.py'\nauto_scale_lr = "
        "dict(base_batch_size=96)\ntrain_cfg = dict(max_epochs=7)\n")
    copy.update(lambda cfg, size: dict(flops=2_000_000_000, params=3_000_000))
    copy.write()
    models = {
        model['Name']: model
        for model in yaml.safe_load(copy.metafile.read_text())['Models']
    }
    assert 'tsn_r50_sthv2' not in models
    assert models['selfy_tsm_r18_sthv2_2clip'] == {
        'Name': 'selfy_tsm_r18_sthv2_2clip',
        'In Collection': 'SELFY',
        'Config': 'configs/selfy_tsm_r18_sthv2_2clip.py',
        'Metadata': {
            'Architecture': ['ResNet-18', 'TSM', 'SELFY'],
            'Batch Size': 96,
            'Epochs': 7,
            'FLOPs': 2_000_000_000,
            'Parameters': 3_000_000,
            'Frames': 8,
            'Resolution': '224x224',
            'Training Data': 'Something-Something V2'
        },
        'Modality': 'RGB'
    }


@pytest.mark.parametrize('name',
                         ['my_net', 'vit_b16_k400', 'selfy_videomae_k400'])
def test_config_outside_the_convention_is_named(name):
    with pytest.raises(ValueError, match=f'config {name} is not named'):
        describe(name, Config(), dict(flops=1, params=1))


@pytest.mark.parametrize('own', ['motion_blur', 'k400_mini', 'sthv1_2clips'])
def test_names_that_begin_like_a_data_set_are_others(repo, own):
    cfg = Config.fromfile(repo / 'configs/selfy_tsm_r50_k400.py')
    for frames in '', '_1x1x16':
        entry = describe(f'selfy_tsm_r50{frames}_{own}', cfg,
                         dict(flops=1, params=1))
        assert entry['Metadata']['Training Data'] == own


@pytest.mark.parametrize('selfy', [True, False])
def test_transformers_are_described(repo, selfy):
    name = 'selfy_vit_b16_videomae_k400'
    cfg = Config.fromfile(repo / f'configs/{name}.py')
    entry = describe(
        name if selfy else name.removeprefix('selfy_'), cfg,
        dict(flops=1, params=1))
    assert entry['In Collection'] == ('SELFY' if selfy else 'VideoMAE')
    assert entry['In Collection'] in COLLECTIONS
    metadata = entry['Metadata']
    assert metadata['Architecture'] == ['ViT-B/16', 'VideoMAE'
                                        ] + (['SELFY'] if selfy else [])
    assert metadata['Frames'] == 16
    assert metadata['Resolution'] == '224x224'
    assert metadata['Epochs'] == 100
    assert metadata['Training Data'] == 'Kinetics-400'


def test_configs_of_the_project_follow_the_convention(zoo):
    data = {
        model['Metadata']['Training Data']
        for model in zoo.models.values()
    }
    assert data == set(DATASETS.values())


def test_configs_of_a_user_stop_nothing(copy):
    configs = copy.root / 'configs'
    for path in configs.glob('*.py'):
        if path.stem not in ('tsm_r50_sthv2', 'selfy_tsm_r50_folder'):
            path.unlink()
    mine = "_base_ = 'tsm_r50_sthv2.py'\n"
    (configs / 'tsm_r50_1x1x16_my_dives.py').write_text(mine)
    (configs / 'my_net.py').write_text(mine)
    # its videos are not here
    videos = "_base_ = 'selfy_tsm_r50_folder.py'\n"
    (configs / 'tsm_r18_folder.py').write_text(videos)
    # an entry stays while its config cannot be read
    broken = 'selfy_tsm_r50_sthv2'
    (configs / f'{broken}.py').write_text('1 / 0')
    kept = copy.models[broken]
    left_out = copy.update(lambda cfg, size: dict(flops=1, params=1))
    assert set(left_out) == {'my_net', 'tsm_r18_folder', broken}
    assert 'classes.txt does not exist' in left_out['tsm_r18_folder']
    assert left_out['my_net'].startswith('config my_net is not named [selfy')
    assert set(
        copy.models) == {'tsm_r50_sthv2', 'tsm_r50_1x1x16_my_dives', broken}
    metadata = copy.models['tsm_r50_1x1x16_my_dives']['Metadata']
    assert metadata['Training Data'] == 'my_dives'
    assert copy.models[broken] == kept


def test_page_without_its_table_is_named(copy):
    copy.page.write_text('# Model zoo\n')
    with pytest.raises(ValueError, match='has no lines "<!-- begin of netw'):
        copy.write()


def test_published_network_names_motions(repo, zoo, tmp_path):
    name = 'selfy_tsm_r18_motion'
    path = repo / zoo.models[name]['Weights']
    cfg = Config.fromfile(repo / f'configs/{name}.py')
    predict = VideoPredictor(cfg, str(path), 'cpu')
    render_dataset(tmp_path / 'motion', num_train=8, num_val=24, seed=1)
    lines = (tmp_path / 'motion/val.txt').read_text().splitlines()
    right = 0
    for line in lines:
        file, label = line.split()
        best, = predict(str(tmp_path / 'motion/videos' / file), topk=1)
        right += best['label'] == int(label)
    assert right >= 0.8 * len(lines)
