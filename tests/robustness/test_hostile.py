"""All files that we read, damaged in hundreds of ways, and malicious ones."""
import copy
import io
import json
import math
import os
import pickle
import random
import resource
import signal
import zipfile
from collections import OrderedDict

import motion_clips
import numpy as np
import onnx
import pytest
import release_files
import torch
from mmengine.logging import HistoryBuffer
from releases import Preparation
from torch import nn

from selfy_mmaction.apis.onnx import ONNXClassifier
from selfy_mmaction.datasets.lists import check_list, read_classes
from selfy_mmaction.engine import errors
from selfy_mmaction.engine.checkpoint import (
    check_state_dict,
    get_state_dict,
    load_checkpoint,
)
from selfy_mmaction.evaluation import publishing
from selfy_mmaction.evaluation.dumps import load_dump
from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.models.convert import convert_official_state_dict

HOSTILE_VALUES = [
    None, True, -1, 0, 10**9, 10**30, 1e308,
    float('nan'), '', '../x', '/etc/passwd', 'a\0b', 'x' * 5000, '9' * 5000,
    [], [[]], {}
]
SECONDS, MEGABYTES = 20, 300


def damage(data: bytes, rng: random.Random) -> bytes:
    """Change a few bytes, cut the file short, repeat a part, ..."""
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(6):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1:
                del data[at:]
            case 2:
                data[at:at] = rng.randbytes(rng.choice([1, 4, 64]))
            case 3:
                data[at:at + 4] = rng.choice([
                    b'\xff\xff\xff\xff', b'\xff\xff\xff\x7f', b'\0\0\0\0',
                    b'{}[]', b'"\\\n,', b'../.', b'9999'
                ])
            case 4:
                other = rng.randrange(len(data) + 1)
                data[at:at] = data[other:other + 50]
            case 5:
                del data[at:at + rng.randrange(1, 30)]
    return bytes(data)


def damage_json(text: bytes, rng: random.Random) -> bytes:
    """Put a value of another kind somewhere."""
    root = json.loads(text)
    node, key = rng.choice([*places(root)])
    node[key] = copy.deepcopy(rng.choice(HOSTILE_VALUES))
    return json.dumps(root).encode()


def places(node):
    """Every value inside of a JSON value, as its container and its key."""
    keys = node if isinstance(node, dict) else range(len(node))
    for key in keys:
        yield node, key
        if isinstance(node[key], (dict, list)):
            yield from places(node[key])


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


def both_formats(content) -> list[bytes]:
    """As PyTorch saves today, and as it did before 1.6."""
    return [
        saved(content),
        saved(content, _use_new_zipfile_serialization=False)
    ]


MODEL = nn.Sequential(OrderedDict(fc=nn.Linear(3, 2)))
CHECKPOINT = dict(
    meta=dict(epoch=1, iter=2, dataset_meta=dict(classes=['a', 'b'])),
    state_dict=MODEL.state_dict(),
    optimizer=dict(state={0: dict(momentum_buffer=torch.ones(3))}),
    message_hub=dict(log_scalars=dict(loss=HistoryBuffer([1., 2.], [1, 1]))))
OFFICIAL = dict(
    epoch=50,
    state_dict={
        'module.base_model.conv1.weight':
        torch.ones(4, 3, 7, 7),
        'module.base_model.selfy.stss_integration.conv0.0.weight':
        torch.ones(4, 4, 1, 3, 3),
        'module.base_model.selfy.stss_integration.upsample.0.weight':
        torch.ones(4, 8, 1, 1, 1),
        'module.new_fc.weight':
        torch.ones(3, 8, 1)
    })
DUMP = dict(
    scores=np.full((3, 3), 1 / 3, np.float32),
    kind=np.array('probabilities'),
    labels=np.arange(3),
    names=np.array(['0', '1', '2']),
    classes=np.array(['a', 'b', 'c']),
    left_out=np.array(0))
META = dict(
    classes=['a', 'b', 'c'],
    clip_shape=[2, 3, 4, 4],
    raw=False,
    mean=[0, 0, 0],
    std=[1, 1, 1],
    to_rgb=True)


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


def read_official(path):
    weights = get_state_dict(load_checkpoint(str(path)))
    try:
        convert_official_state_dict(weights)
    except ValueError as error:  # as the tool says it
        raise ValueError(
            f'{path}: {str(error).encode("unicode_escape")}') from error


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


def read_motion(path):
    motion_clips.render_dataset(path.parent, 8, 8, seed=0, num_workers=1)


LOADERS = {
    'checkpoint': (read_checkpoint, 'epoch_1.pth', both_formats(CHECKPOINT)),
    'official checkpoint':
    (read_official, 'official.pth.tar', both_formats(OFFICIAL)),
    'dump': (lambda path: load_dump(str(path)), 'dump.npz', [archive(DUMP)]),
    'list of videos':
    (list_of('VideoDataset',
             'video'), 'train.txt', [b'a/0.mp4 0\n1.mp4 1\n2.mp4 2\n']),
    'list of frames': (list_of('RawframeDataset', 'img'), 'train.txt',
                       [b'a/0 12 0\n1 15 1\n2 99 2\n']),
    'classes': (lambda path: read_classes(str(path), 3, 'the model'),
                'classes.txt', ['a\nb\nn\u00e9\n'.encode()]),
    'onnx': (read_onnx, 'model.onnx',
             [onnx_model({
                 k: json.dumps(v)
                 for k, v in META.items()
             })]),
    'motion': (read_motion, 'motion/motion.json',
               [json.dumps(dict(train=8, val=8, seed=0)).encode()]),
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
    texts = [json.dumps(value)
             for value in HOSTILE_VALUES] + ['{', '[' * 100000, 'import os']
    contents = [
        onnx_model({
            k: json.dumps(v)
            for k, v in META.items()
        }
                   | {rng.choice([*META]): rng.choice(texts)})
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
        change = damage
        if path.suffix == '.json' and rng.random() < 0.7:
            change = damage_json
        lists = {p: p.read_bytes() for p in root.glob('*_list_*.txt')}
        failed = attack(prepare, path, [change(files[path], rng)])[False]
        # with an error, what was there is left as it was
        if failed:
            assert lists == {p: p.read_bytes() for p in lists}
        found += failed
        for line in b'\n'.join(lists.values()).decode().splitlines():
            assert '..' not in line and not line.startswith('/')
        path.write_bytes(files[path])
    assert found > 15


NUMBERS = [
    None, True, 0, -1, 2, 2.5, 10**15,
    float('nan'), 'x', '', [], {}, [[9]], (5, 9), (5, 9, 9, 9), (5, 8, 9),
    (4, 9, 9), (0, 9, 9), (5, -9, 9), (5, 9., 9), (5, '9', 9), (5, None, 9),
    (5, 10**15 + 1, 9), 'abc'
]
OPTIONS = dict(
    window=NUMBERS,
    offsets=[x for x in NUMBERS if x is not None],
    mid_channels=[x for x in NUMBERS if x not in (2, True)],
    similarity=[*NUMBERS, 'Cosine'],
    temporal_padding=[*NUMBERS, 'zero'],
    extraction=[
        dict(type=kind, channels=channels)
        for kind in ('STSSConvExtraction', 'STSSMLPExtraction')
        for channels in ((0, 4), (-1, 4), ('a', 'b'), (4.5, 8), (4, None), ())
    ],
    integration=[
        dict(type='STSSConvIntegration', channels=channels)
        for channels in ((0, 4), (-1, 4), ('a', 'b'), (4.5, 8), (4, None), ())
    ])


@pytest.mark.parametrize('name, value', [(name, value)
                                         for name, values in OPTIONS.items()
                                         for value in values])
def test_impossible_options(name, value):
    """An error when the block is built, not one of its arithmetic."""
    cfg = {'in_channels': 8, 'num_segments': 5, 'mid_channels': 8, name: value}
    with pytest.raises((ValueError, RuntimeError)) as info:
        SELFYBlock(**cfg)
    message = errors.describe_error(info.value)
    assert '\n' not in message
    if info.type is RuntimeError:
        assert 'memory' in message


@pytest.mark.parametrize('place', ['bare', 'state_dict', 'meta'])
@pytest.mark.parametrize('name', ['checkpoint', 'official checkpoint'])
def test_no_file_runs_code(name, place, tmp_path):
    read, file, _ = LOADERS[name]
    mark = tmp_path / 'mark'
    call = Call(os.mkdir, str(mark))
    content = copy.deepcopy(dict(CHECKPOINT, meta={}))
    if place == 'bare':
        content = call
    else:
        content[place]['fc.extra'] = call
    found = attack(read, tmp_path / file, both_formats(content))
    assert found == {True: 0, False: 2} and not mark.exists()
    # what is refused does run where it is not
    torch.load(io.BytesIO(saved(content)), weights_only=False)
    assert mark.exists()


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


def expanded(*shape):
    """A tensor that takes a number on the disk."""
    return torch.ones(1).expand(*shape)


def compressed(content: bytes) -> bytes:
    """The same archive with its entries packed."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(
            file, 'w', zipfile.ZIP_DEFLATED) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    return file.getvalue()


def claiming(dtype: str, *shape: int, lie: bool = False) -> bytes:
    """A dump whose scores are only a header.

    Args:
        dtype (str): Their type, by the header.
        *shape (int): Their shape, by the header.
        lie (bool): Whether the archive says that they are there.
    """
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, dict(descr=dtype, fortran_order=False, shape=shape))
    others = {key: value for key, value in DUMP.items() if key != 'scores'}
    file = io.BytesIO(archive(others))
    with zipfile.ZipFile(file, 'a') as target:
        target.writestr('scores.npy', header.getvalue())
        if lie:
            entry = target.getinfo('scores.npy')
            entry.file_size += 4 * math.prod(shape)
            entry.compress_size = entry.file_size
    return file.getvalue()


@pytest.mark.parametrize('name, content', [
    ('checkpoint', saved({'fc.weight': expanded(10**9, 10**3)})),
    ('official checkpoint',
     saved({
         'module.base_model.selfy.stss_integration.upsample.0.weight':
         expanded(10**4, 10**6, 1, 1, 1)
     })),
    ('checkpoint', compressed(saved({'fc.weight': torch.zeros(10**6)}))),
    ('checkpoint',
     saved({
         'fc.weight':
         Call(torch._utils._rebuild_device_tensor_from_cpu_tensor,
              expanded(10**8), torch.float64, 'cpu', False)
     })),
    ('dump', claiming('<f4', 10**12, 3)),
    ('dump', claiming('<f4', 10**12, 3, lie=True)),
    ('dump', claiming(f'({10**8},)<f8', 0, 3)),
    ('dump',
     compressed(
         archive(
             dict(
                 DUMP, scores=np.eye(1000)[:3], classes=np.array(
                     ['x'] * 1000))))),
])
def test_small_files_take_little_memory(name, content, tmp_path):
    read, file, _ = LOADERS[name]
    assert attack(read, tmp_path / file, [content])[False] == 1


@pytest.fixture
def hostile_run(tmp_path, repo):
    """A checkpoint that says that it was trained with a file beside it."""
    config = tmp_path / 'selfy_tsm_r18_motion.py'
    config.write_text(f'import os; os.mkdir({str(tmp_path / "mark")!r})\n')
    name = os.path.relpath(tmp_path, repo / 'configs')
    return dict(CHECKPOINT, meta=dict(experiment_name=f'{name}/{config.stem}'))


def test_no_config_is_run_from_elsewhere(hostile_run, run_tool, tmp_path,
                                         repo):
    path = tmp_path / 'weights.pth'
    torch.save(hostile_run, path)
    assert 'does not name its config' in run_tool('publish_model', path)
    assert not (tmp_path / 'mark').exists()


@pytest.mark.parametrize('text', [
    '(' * 100000, 'x = ' + '-' * 10000 + '1', '[a for', '\0', 3, ['a'],
    'import os; os.mkdir("mark")'
])
def test_configs_in_checkpoints_are_never_run(text, tmp_path, repo,
                                              monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(publishing.MODELS, 'build', lambda cfg: MODEL)
    checkpoint = dict(CHECKPOINT, meta=dict(cfg=text))
    config = repo / 'configs/selfy_tsm_r18_motion.py'
    try:
        publishing.strip_checkpoint(checkpoint, 'weights.pth', config)
    except ValueError as error:
        assert 'weights.pth' in str(error) and '\n' not in str(error)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('line', [
    '../clip.mp4 0', 'a/../../clip.mp4 0', '/etc/passwd 0', '{root}/x.mp4 0',
    './../clips2/x.mp4 0'
])
def test_lists_do_not_leave_the_folder(line, tmp_path):
    (tmp_path / 'clips').mkdir()
    path = tmp_path / 'train.txt'
    path.write_text(line.format(root=tmp_path) + '\n')
    dataset = dict(
        type='VideoDataset',
        ann_file=str(path),
        data_root=str(tmp_path),
        data_prefix=dict(video='clips'))
    with pytest.raises(ValueError, match=r'line 1 leads out of .*clips: '):
        check_list(dataset, 3)
    # unless asked
    check_list(dict(dataset, data_prefix=dict(video='/')), 3)


def test_paths_inside_of_the_folder_are_fine(tmp_path):
    (tmp_path / 'clips').mkdir()
    path = tmp_path / 'train.txt'
    path.write_text(f'a/../b.mp4 0\n{tmp_path}/clips/c.mp4 1\na..b.mp4 2\n')
    check_list(
        dict(
            type='VideoDataset',
            ann_file='train.txt',
            data_root=str(tmp_path),
            data_prefix=dict(video='clips')), 3)


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
