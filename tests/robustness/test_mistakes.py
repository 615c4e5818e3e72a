"""Mistakes that users make: each ends in one line that helps."""
import re
import shutil
import subprocess
import sys

import pytest
import torch
from dumping import write_dump
from mmaction.registry import MODELS
from mmengine.config import Config
from mmengine.registry import init_default_scope

CONFIG = """
_base_ = '{repo}/configs/selfy_tsm_r18_motion.py'
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(data_root='data', metainfo=dict(classes='data/classes.txt')))
val_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(data_root='data', metainfo=dict(classes='data/classes.txt')))
test_dataloader = val_dataloader
model = dict(backbone=dict(num_stages=1, strides=(1, ), dilations=(1, ),
                           out_indices=(0, ), selfy_indices=(0, )),
             cls_head=dict(in_channels=64))
"""

FRAMES = """
_base_ = 'config.py'
train_dataloader = dict(dataset=dict(
    _delete_=True, type='RawframeDataset', data_root='data',
    ann_file='frames.txt', data_prefix=dict(img='frames'),
    pipeline=[dict(type='SampleFrames', clip_len=1, num_clips=8)]))
"""
LISTS = dict(
    empty='',
    mark='\ufeffleft0.mp4 0\n',
    bad_label='left0.mp4 0\nleft1.mp4 left\n',
    high='left0.mp4 8\n',
    outside='/etc/passwd 0\n',
    frames='1 17 0\n')


@pytest.fixture(scope='module')
def project(repo, video_dir, tmp_path_factory):
    """A folder as a user has it: a config, data, a checkpoint, dumps."""
    root = tmp_path_factory.mktemp('project')
    shutil.copytree(video_dir, root / 'data/videos')
    for split, numbers in ('train', (0, 1, 2)), ('val', (3, 4)):
        (root / f'data/{split}.txt').write_text(''.join(
            f'{side}{i}.mp4 {label}\n' for i in numbers
            for label, side in enumerate(['left', 'right'])))
    (root / 'data/classes.txt').write_text(''.join(f'class {i}\n'
                                                   for i in range(8)))
    for name, text in LISTS.items():
        (root / f'data/{name}.txt').write_text(text)
    (root / 'data/frames/1').mkdir(parents=True)
    (root / 'data/frames/1/00001.jpg').touch()
    (root / 'config.py').write_text(CONFIG.format(repo=repo))
    (root / 'frames.py').write_text(FRAMES)
    init_default_scope('mmaction')
    model = MODELS.build(Config.fromfile(root / 'config.py').model)
    meta = dict(epoch=1, iter=3)
    weights = model.state_dict()
    torch.save(dict(state_dict=weights, meta=meta), root / 'weights.pth')
    hub = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    torch.save(
        dict(state_dict=weights, meta=meta, optimizer={}, message_hub=hub),
        root / 'epoch_1.pth')
    (root / 'torn.pth').write_bytes((root / 'weights.pth').read_bytes()[:9999])
    weights['cls_head.fc_cls.bias'] = torch.full((8, ), torch.nan)
    torch.save(dict(state_dict=weights, meta=meta), root / 'diverged.pth')
    for name, label, classes in ('a', 0, 8), ('b', 0, 3):
        write_dump(root / f'{name}.npz',
                   torch.ones(1, classes) / classes, [label])
    return root


@pytest.fixture
def make_mistake(project, load_tool, monkeypatch, capsys):
    """Run a tool in the project and return its last words and its code."""

    def run(call):
        for word, words in SHORT.items():
            call = call.replace(word, words)
        tool, *args = call.split()
        monkeypatch.chdir(project)
        name = f'{tool.split("/")[-1]}.py'
        monkeypatch.setattr(sys, 'argv', [name, *args])
        with pytest.raises(SystemExit) as exit_info:
            load_tool(tool).main()
        code = exit_info.value.code
        if isinstance(code, str):
            return code, 1
        lines = capsys.readouterr().err.splitlines()
        return lines[-1], code

    return run


SHORT = dict(
    TRAIN='train config.py --cfg-options',
    MODEL='config.py weights.pth --device cpu',
    BLOCK='model.backbone.selfy',
    BACKBONE='model.backbone',
    DATASET='train_dataloader.dataset')
# What is called, and what it says after its name.
MISTAKES = r"""
TRAIN BACKBONE.num_segments=16
    model.backbone.num_segments=16, but .*num_segments=8: make them equal.
TRAIN DATASET.pipeline.1.num_clips=4
    train_dataloader samples 4 frames .*, but .*num_segments=8: make them .*
TRAIN BLOCK.window=(5,8,9)
    .*window must be .*\(5, 9, 9\), but got \(5, 8, 9\).*
TRAIN BLOCK.window=(5,99999999,99999999)
    it takes more memory than there is \(.*\): lower .* window .*
TRAIN BLOCK.extraction.type=STSSConvolution
    the config names the model 'STSSConvolution', which is not known: .*
TRAIN BLOCK.widnow=(5,9,9)
    the config sets 'widnow' of SELFYBlock, which has no such setting: .*
TRAIN model.cls_head.in_channels=512
    a linear layer takes 512 features, but is given 64: .*in_channels=64.
TRAIN train_dataloader.batch_size=100
    train_dataloader has no batch, .* lower train_dataloader.batch_size.
TRAIN optim_wrapper.optimizer.type=Adamm
    optim_wrapper.optimizer.type=Adamm is not a known optimizer: check .*
TRAIN optim_wraper.optimizer.lr=1
    --cfg-options .*: there is no setting optim_wraper; is optim_wrapper .*
TRAIN data_root=/sets
    --cfg-options data_root: data_root is a variable .*; change .*data_root.
TRAIN seed
    --cfg-options: seed is not KEY=VALUE. \(--help .*
TRAIN load_from=https://localhost:9/x.pth
    the download of https://localhost:9/x.pth failed \(.*refused\): check .*
TRAIN load_from=a.npz
    a.npz is not a checkpoint, .*
train config.py --resume no.pth
    checkpoint no.pth does not exist.
train config.py --resume torn.pth
    torn.pth is not a checkpoint, or was cut short .*: give another one.
train config.py --resume weights.pth
    weights.pth has no message_hub, .* give it as load_from.
train config.py --resume epoch_1.pth --cfg-options BLOCK.window=(3,9,9)
    epoch_1.pth does not fit .*: \S+ has shape .* instead of .*; use the .*
TRAIN BACKBONE.is_shift=False load_from=weights.pth
    weights.pth .*: it is of a network with temporal shift: set .*=True.
train config.py --launcher pytorch
    --launcher pytorch, but RANK is not set: start with tools/dist_.*
TRAIN DATASET.ann_file=no.txt
    annotation file data/no.txt of train_dataloader does not exist.
TRAIN DATASET.ann_file=empty.txt
    data/empty.txt is empty: give a list of lines `FILE LABEL`.
check_data config.py --cfg-options DATASET.ann_file=mark.txt
    data/mark.txt begins with a byte-order mark: save it as UTF-8 .*
TRAIN DATASET.ann_file=bad_label.txt
    data/bad_label.txt: line 2 is 'left1.mp4 left', where .* expected.
TRAIN DATASET.ann_file=high.txt
    data/high.txt: line 1 has label 8 .*: labels go from 0 to 7.
TRAIN DATASET.ann_file=outside.txt
    data/outside.txt: line 1 leads out of data/videos: '/etc/passwd'; .*
TRAIN DATASET.data_prefix.video=film
    folder data/film of the clips in data/train.txt does not exist: set .*
train frames.py
    data/frames/1 has no img_00001.jpg, but 00001.jpg: set filename_tmpl=.*
test config.py diverged.pth
    diverged.pth has values in cls_head.fc_cls.bias that are not finite: .*
test config.py weights.pth --dump a.txt
    --dump a.txt: give it the ending .npz.
predict no.mp4 MODEL
    video no.mp4 does not exist.
predict data/videos/notes.txt MODEL
    data/videos/notes.txt is not a video, or is damaged: it .*
predict data/videos/left0.mp4 MODEL --labels data/train.txt
    data/train.txt names 6 classes, but the model has 8: give .*
predict data/videos/left0.mp4 MODEL --device gpu
    device gpu: Expected one of cpu, cuda, .*
predict data/videos/left0.mp4 MODEL --backend onnx
    weights.pth is not an ONNX model that .* can read.
export_onnx config.py weights.pth data
    data is a folder: give the name of a file.
ensemble a.npz b.npz
    a.npz has 1 samples of 8 classes, but b.npz has 1 samples of 3 .*: .*
ensemble a.pkl
    a.pkl is a pickle, .*: write an .npz with tools/test.py CONFIG .*
publish_model weights.pth --out-dir out
    weights.pth does not name its config .*: give --config, such as .*
tools/data/prepare sthv1 no
    folder no does not exist.
projects/motion/make_motion data
    data holds something other than .*: remove it or choose another .*
""".strip().split('\n')


@pytest.mark.parametrize('call, message',
                         zip(MISTAKES[::2], MISTAKES[1::2], strict=True))
def test_a_mistake_is_one_line(make_mistake, call, message):
    line, code = make_mistake(call)
    assert re.fullmatch(rf'\w+\.py: error: {message.strip()}', line), line
    assert code in (1, 2, True)


@pytest.mark.parametrize('call, package', [
    ('predict data/videos/left0.mp4 MODEL --backend onnx', 'onnxruntime'),
    ('export_onnx config.py weights.pth a.onnx', 'onnxscript'),
])
def test_a_missing_package_is_one_line(make_mistake, monkeypatch, call,
                                       package):
    monkeypatch.setitem(sys.modules, package, None)
    assert re.fullmatch(
        f'.*.py: error: {package} cannot be imported .*: pip install onnx '
        'onnxscript onnxruntime',
        make_mistake(call)[0])


@pytest.mark.skipif(torch.cuda.is_available(), reason='works on a GPU')
@pytest.mark.parametrize('call, message', [
    ('train config.py --amp', '--amp needs a GPU, and there is none.'),
    ('predict data/videos/left0.mp4 config.py weights.pth --device cuda:1',
     'device cuda:1: .* CUDA .*'),
])
def test_no_gpu_is_one_line(make_mistake, call, message):
    assert re.fullmatch(f'.*.py: error: {message}', make_mistake(call)[0])


def test_a_message_of_many_lines_is_one(make_mistake, monkeypatch, load_tool):
    """An unforeseen error is given with its type and a hint."""

    def fail(self):
        raise RuntimeError('first\n\tsecond' + ' and more' * 200)

    monkeypatch.setattr('mmengine.runner.Runner.train', fail)
    line, _ = make_mistake('train config.py')
    assert re.fullmatch(
        r'train.py: error: RuntimeError: first second( and more)+( and)? '
        r'\.\.\. \(--traceback shows where\)', line)
    assert len(line) < 700


def test_every_tool_can_show_tracebacks(repo, load_tool, monkeypatch, capsys):
    tools = [
        path for folder in ('tools', 'tools/data', 'projects/*', 'benchmarks')
        for path in repo.glob(f'{folder}/*.py')
        if 'launch.ArgumentParser(' in path.read_text()
    ]
    assert len(tools) > 10
    for path in tools:
        name = str(path.relative_to(repo).with_suffix(''))
        monkeypatch.setattr(sys, 'argv', [path.name, '--help'])
        with pytest.raises(SystemExit) as exit_info:
            load_tool(name).main()
        assert not exit_info.value.code
        assert '--traceback' in capsys.readouterr().out, name


def test_a_process_says_no_more(repo, project, tool_env):
    call = [sys.executable, repo / 'tools/get_flops.py', 'no.py']
    runs = [
        subprocess.run([*call, *more],
                       env=tool_env,
                       cwd=project,
                       capture_output=True,
                       text=True) for more in ([], ['--traceback'])
    ]
    assert [run.returncode for run in runs] == [1, 1]
    message = 'config no.py does not exist.\n'
    assert runs[0].stderr == f'get_flops.py: error: {message}'
    assert 'Traceback (most recent call last):' in runs[1].stderr
    assert runs[1].stderr.endswith(f'FileNotFoundError: {message}')
