"""All files that we read, damaged in hundreds of ways, and malicious ones."""
import io
import json
import os
import pickle
import random
import resource
import signal
from collections import OrderedDict

import numpy as np
import onnx
import publish_model
import pytest
import release_files
import torch
from mmengine.config import Config
from releases import Preparation
from torch import nn

from selfy_mmaction.apis.onnx import ONNXClassifier
from selfy_mmaction.datasets.lists import check_list, read_classes
from selfy_mmaction.engine.checkpoint import (
    check_state_dict,
    get_state_dict,
    load_checkpoint,
)
from selfy_mmaction.evaluation.dumps import load_dump

HOSTILE_VALUES = [
    None, True, -1, 0, 10**9, 10**30, 1e308,
    float('nan'), '', '../x', '/etc/passwd', 'a\0b', 'x' * 5000, '9' * 5000,
    [], [[]], {}
]
WORDS = [
    b'\xff\xff\xff\xff', b'\xff\xff\xff\x7f', b'\0\0\0\0', b'{}[]', b'"\\\n,',
    b'../.', b'9999'
]
SECONDS, MEGABYTES = 20, 300


def damage(data: bytes, rng: random.Random) -> bytes:
    """Change a few bytes, cut the file short, repeat a part, ..."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        at, other = (rng.randrange(len(data) + 1) for _ in range(2))
        end, new = rng.choice([(at + 1, rng.randbytes(1)), (len(data), b''),
                               (at, rng.randbytes(rng.choice([1, 4, 64]))),
                               (at + 4, rng.choice(WORDS)),
                               (at, data[other:other + 50]),
                               (at + rng.randrange(1, 30), b'')])
        data[at:end] = new
    return bytes(data)


class Call:
    """Pickles as a call of a function, made when the pickle is read."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


def attack(read, path, contents):
    """Read each content; return how often that went well and how often not.

    Well is without an error, or with one that is a line and names the file;
    either in bounded time and memory.
    """

    def hang(*_):
        raise AssertionError(f'reading takes more than {SECONDS} s')

    results = {True: 0, False: 0}
    signal.signal(signal.SIGALRM, hang)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in contents:
        path.write_bytes(content)
        signal.alarm(SECONDS)
        try:
            read(path)
            results[True] += 1
        except (OSError, ValueError) as error:
            assert type(error) is not UnicodeDecodeError
            assert path.stem in str(error) and '\n' not in str(error)
            results[False] += 1
        finally:
            signal.alarm(0)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert used < MEGABYTES * 1024, f'reading took {used // 1024} MB'
    return results


def saved(content, **kwargs) -> bytes:
    """What torch.save writes."""
    file = io.BytesIO()
    torch.save(content, file, **kwargs)
    return file.getvalue()


MODEL = nn.Sequential(OrderedDict(fc=nn.Linear(3, 2)))
CHECKPOINT = dict(
    meta=dict(epoch=1, iter=2, dataset_meta=dict(classes=['a', 'b'])),
    state_dict=MODEL.state_dict(),
    optimizer=dict(state={0: dict(momentum_buffer=torch.ones(3))}))
DUMP = dict(
    scores=np.full((3, 3), 1 / 3, np.float32),
    kind=np.array('probabilities'),
    labels=np.arange(3),
    names=np.array(['0', '1', '2']),
    classes=np.array(['a', 'b', 'c']),
    left_out=np.array(0))
META = {
    key: json.dumps(value)
    for key, value in dict(
        classes=['a', 'b', 'c'],
        clip_shape=[2, 3, 4, 4],
        raw=False,
        mean=[0, 0, 0],
        std=[1, 1, 1],
        to_rgb=True).items()
}


def archive(members: dict) -> bytes:
    """What np.savez writes."""
    file = io.BytesIO()
    np.savez(file, **members)
    return file.getvalue()


def onnx_model(meta: dict[str, str]) -> bytes:
    """A classifier with this metadata."""
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node(
                'ReduceMean', ['clips'], ['x'], axes=[1, 3, 4], keepdims=0),
            helper.make_node('Softmax', ['x'], ['probabilities'])
        ], 'classifier',
        [helper.make_tensor_value_info('clips', 1, ['n', 2, 3, 4, 4])],
        [helper.make_tensor_value_info('probabilities', 1, ['n', 3])])
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', 17)], ir_version=9)
    helper.set_model_props(model, meta)
    return model.SerializeToString()


def read_checkpoint(path):
    checkpoint = load_checkpoint(str(path))
    check_state_dict(MODEL, get_state_dict(checkpoint), str(path))


def list_of(kind, key):

    def read(path):
        (path.parent / 'clips').mkdir(exist_ok=True)
        check_list(
            dict(
                type=kind,
                data_root=str(path.parent),
                ann_file=path.name,
                data_prefix={key: 'clips'}), 3)

    return read


def read_onnx(path):
    model = ONNXClassifier(str(path))
    model.classify_raw(torch.zeros(1, 2, 3, 4, 4, dtype=torch.uint8))


LOADERS = {
    'checkpoint': (read_checkpoint, 'epoch_1.pth', [
        saved(CHECKPOINT),
        saved(CHECKPOINT, _use_new_zipfile_serialization=False)
    ]),
    'dump': (lambda path: load_dump(str(path)), 'dump.npz', [archive(DUMP)]),
    'list of videos':
    (list_of('VideoDataset',
             'video'), 'train.txt', [b'a/0.mp4 0\n1.mp4 1\n2.mp4 2\n']),
    'list of frames':
    (list_of('RawframeDataset',
             'img'), 'train.txt', [b'a/0 12 0\n1 15 1\n2 99 2\n']),
    'classes': (lambda path: read_classes(str(path), 3, 'the model'),
                'classes.txt', ['a\nb\nn\u00e9\n'.encode()]),
    'onnx': (read_onnx, 'model.onnx', [onnx_model(META)]),
}


@pytest.mark.parametrize('name', LOADERS)
def test_damaged_files(name, tmp_path):
    read, file, contents = LOADERS[name]
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    # what is not damaged is read
    assert attack(read, path, contents) == {True: len(contents), False: 0}
    rng = random.Random(name)
    found = attack(read, path,
                   (damage(rng.choice(contents), rng) for _ in range(500)))
    assert found[False] > 250
    assert sorted(x.name for x in path.parent.iterdir()
                  if x.is_file()) == [path.name]


def test_hostile_metadata_of_a_model(tmp_path):
    rng = random.Random(0)
    texts = [*map(json.dumps, HOSTILE_VALUES), '{', '[' * 100000, 'import os']
    contents = [
        onnx_model(META | {rng.choice([*META]): rng.choice(texts)})
        for _ in range(100)
    ]
    found = attack(read_onnx, tmp_path / 'model.onnx', contents)
    assert found[False] > 50


@pytest.mark.parametrize('dataset', release_files.RELEASES)
def test_damaged_annotations(dataset, tmp_path, repo, capfd):
    video = release_files.make_video(
        tmp_path / ('v.webm' if dataset == 'sthv2' else 'v.mp4'))
    root = tmp_path / dataset
    root.mkdir()
    release_files.RELEASES[dataset](
        root, repo=repo, mp4=video, webm=video, dataset=dataset)

    def prepare(_):
        Preparation(dataset, root, partial_copy=True, decode=False).run()

    files = {
        path: path.read_bytes()
        for path in sorted(root.rglob('*'))
        if path.suffix in ('.json', '.csv', '.txt')
    }
    prepare(None)
    rng = random.Random(dataset)
    found = 0
    for _ in range(100):
        path = rng.choice([*files])
        lists = {p: p.read_bytes() for p in root.glob('*_list_*.txt')}
        failed = attack(prepare, path, [damage(files[path], rng)])[False]
        # with an error, what was there is left as it was
        if failed:
            assert lists == {p: p.read_bytes() for p in lists}
        found += failed
        for line in b'\n'.join(lists.values()).decode().splitlines():
            assert '..' not in line and not line.startswith('/')
        path.write_bytes(files[path])
    assert found > 15


def test_no_dump_runs_code(tmp_path):
    mark = tmp_path / 'mark'
    call = Call(os.mkdir, str(mark))
    objects = np.array([call] * 3, object)
    contents = [archive(dict(DUMP, **{name: objects})) for name in DUMP] + [
        pickle.dumps(call),
        pickle.dumps([dict(pred_score=call)], 2)
    ]
    found = attack(LOADERS['dump'][0], tmp_path / 'dump.npz', contents)
    assert found == {True: 0, False: len(contents)} and not mark.exists()
    with np.load(io.BytesIO(contents[0]), allow_pickle=True) as file:
        file['scores']
    assert mark.exists()


def test_no_config_is_run_from_elsewhere(run_tool, tmp_path, repo):
    """A checkpoint says that it was trained with a file beside it."""
    config = tmp_path / 'selfy_tsm_r18_motion.py'
    config.write_text(f'import os; os.mkdir({str(tmp_path / "mark")!r})\n')
    name = os.path.relpath(tmp_path, repo / 'configs')
    path = tmp_path / 'weights.pth'
    meta = dict(experiment_name=f'{name}/{config.stem}')
    torch.save(dict(CHECKPOINT, meta=meta), path)
    assert 'does not name its config' in run_tool('publish_model', path,
                                                  '--out-dir', tmp_path)
    assert not (tmp_path / 'mark').exists()


@pytest.mark.parametrize('text', [
    '(' * 100000, 'x = ' + '-' * 10000 + '1', '\0', 3,
    'import os; os.mkdir("mark")'
])
def test_configs_in_checkpoints_are_never_run(text, tmp_path, repo,
                                              monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(publish_model.MODELS, 'build', lambda cfg: MODEL)
    checkpoint = dict(CHECKPOINT, meta=dict(cfg=text))
    config = repo / 'configs/selfy_tsm_r18_motion.py'
    try:
        publish_model.strip_checkpoint(checkpoint, 'weights.pth',
                                       Config.fromfile(config))
    except ValueError as error:
        assert 'weights.pth' in str(error) and '\n' not in str(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('name, inside', [
    ('../clip.mp4', False),
    ('a/../../clip.mp4', False),
    ('{root}/x.mp4', False),
    ('a/../b.mp4', True),
    ('{root}/clips/c.mp4', True),
])
def test_lists_do_not_leave_the_folder(name, inside, tmp_path):
    (tmp_path / 'clips').mkdir()
    (tmp_path / 'train.txt').write_text(f'{name.format(root=tmp_path)} 0\n')
    dataset = dict(
        type='VideoDataset',
        ann_file='train.txt',
        data_root=str(tmp_path),
        data_prefix=dict(video='clips'))
    if not inside:
        with pytest.raises(ValueError, match=r'line 1 leads out of .*clips: '):
            check_list(dataset, 3)
        # unless asked
        dataset['data_prefix'] = dict(video='/')
    check_list(dataset, 3)


@pytest.mark.parametrize('tool, args', [
    ('convert_checkpoint', ['bad', 'out']),
    ('ensemble', ['bad', '--per-class', 'out', '--confusion', 'out']),
    ('export_onnx', ['{config}', 'bad', 'out']),
])
def test_bad_input_overwrites_nothing(tool, args, run_tool, tmp_path, repo):
    (tmp_path / 'bad').write_bytes(saved(CHECKPOINT)[:-30])
    (tmp_path / 'out').write_text('of before')
    config = str(repo / 'configs/selfy_tsm_r18_motion.py')
    message = run_tool(tool, *(arg.format(config=config) for arg in args))
    assert message.startswith(f'{tool}.py: error: bad is not a ')
    assert (tmp_path / 'out').read_text() == 'of before'
    assert sorted(os.listdir(tmp_path)) == ['bad', 'out']
