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
from torch import nn

from selfy_mmaction.models import STSSConvExtraction

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
    negative='left0.mp4 -1\n',
    high='left0.mp4 8\n',
    columns='left0.mp4 17 0\n',
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
    (root / 'syntax.py').write_text('model = dict(')
    (root / 'empty.py').write_text('epochs = 3')
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
    for name, label, classes in ('a', 0, 8), ('b', 0, 3), ('other', 1, 8):
        write_dump(root / f'{name}.npz',
                   torch.ones(1, classes) / classes, [label])
    return root


@pytest.fixture
def make_mistake(project, load_tool, monkeypatch, capsys):
    """Run a tool in the project and return its last words and its code."""

    def run(tool, *args):
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


def train(*options):
    return 'train', 'config.py', '--cfg-options', *options


def resume(*options):
    return ('train', 'config.py', '--resume', 'epoch_1.pth', '--cfg-options',
            *options)


def run_test(*options):
    return 'test', 'config.py', 'weights.pth', '--cfg-options', *options


def predict(*args, video='data/videos/left0.mp4'):
    return ('predict', video, 'config.py', 'weights.pth', '--device', 'cpu',
            *args)


BACKBONE, BLOCK = 'model.backbone.', 'model.backbone.selfy.'
DATASET = 'train_dataloader.dataset.'
NO_CLASS_LIST = 'test_dataloader.dataset.metainfo=None'

# what is called, and what it says after its name
MISTAKES = [
    # the network
    (train(f'{BACKBONE}num_segments=16'),
     'model.backbone.num_segments=16, but model.cls_head.num_segments=8: make '
     'them equal.'),
    (train(f'{DATASET}pipeline.1.num_clips=4'),
     'train_dataloader samples 4 frames .*, but model.backbone.num_segments=8'
     ': make them equal.'),
    (train(f'{BLOCK}window=(5,8,9)'),
     r'.*window must be .*\(5, 9, 9\), but got \(5, 8, 9\).*'),
    (train(f'{BLOCK}window=9'), '.*window must be .*but got .*9.*'),
    (train(f'{BLOCK}window=(5,99999999,99999999)'),
     r'it takes more memory than there is \(.*\): lower .* window .*'),
    (train(f'{BACKBONE}selfy_indices=(4,)'),
     r'selfy_indices must be different stages from 0 to 0, but got \(4,\).'),
    (train(f'{BACKBONE}selfy_indices=1'),
     r'selfy_indices must be a list of stages, such as \(1, \), but got 1.'),
    (train(f'{BLOCK}similarity=euclid'),
     r"similarity must be one of \('cosine', 'dot', 'softmax'\), but got "
     "'euclid'."),
    (train(f'{BLOCK}temporal_padding=zero'),
     "temporal_padding must be one of .*'zeros', .*, but got 'zero'."),
    (train(f'{BLOCK}extraction.type=STSSConvolution'),
     "the config names the model 'STSSConvolution', which is not known: check "
     'its spelling, or .*'),
    (train(f'{BLOCK}integration.type=Konv'),
     "the config names the model 'Konv', which is not known: check .*"),
    (train(f'{BLOCK}extraction.channels=(4,8)'),
     "the config has .*'channels': .* without a type: give it one, .*"),
    (train(f'{BLOCK}mid_channels=0'),
     'mid_channels of SELFYBlock .* must be positive integers, but got 0.'),
    (train(f'{BLOCK}extraction.type=STSSConvExtraction',
           f'{BLOCK}extraction.channels=(4,x)'),
     "mid_channels .* the channels of extraction .* but got 'x'."),
    (train(f'{BLOCK}widnow=(5,9,9)'),
     "the config sets 'widnow' of SELFYBlock, which has no such setting: .*"),
    (train(f'{BACKBONE}depth=20'),
     r'depth must be one of \[18, 34, 50, 101, 152\], but got 20.'),
    (train(f'{BACKBONE}type=ResNetSELFI'),
     "the config names the model 'ResNetSELFI', which is not known: .*"),
    (train('model.cls_head.num_classes=0'),
     'model.cls_head.num_classes=0: give a positive whole number.'),
    (train('model.cls_head.num_classes=7'),
     'data/classes.txt names 8 classes, but the model has 7: give .*'),
    (train('model.cls_head.dropout_ratio=1.5'),
     'dropout .* has to be between 0 and 1, but got 1.5'),
    (train('model.cls_head.in_channels=512'),
     'the classifier takes 512 features, but is given 64: set '
     'model.cls_head.in_channels=64.'),
    # the training
    (train('train_dataloader.batch_size=0'),
     'train_dataloader.batch_size=0: give a positive whole number.'),
    (train('train_dataloader.batch_size=100'),
     'train_dataloader has no batch, .* lower train_dataloader.batch_size.'),
    (train('train_dataloader.batchsize=4'),
     "the config sets 'batchsize' of DataLoader, which has no such .*"),
    (train('optim_wrapper.optimizer.lr=-1'),
     'optim_wrapper.optimizer.lr=-1: give a number that is not negative.'),
    (train('optim_wrapper.optimizer.lr=1e-3x'),
     'optim_wrapper.optimizer.lr=1e-3x: give a number that .*'),
    (train('optim_wrapper.optimizer.type=Adamm'),
     'optim_wrapper.optimizer.type=Adamm is not a known optimizer: check its '
     'spelling, .*'),
    (train('train_cfg.max_epochs=-3'),
     'train_cfg.max_epochs=-3: give a positive whole number.'),
    (train('train_cfg.max_epoch=3'),
     "the config sets 'max_epoch' of EpochBasedTrainLoop, which has .*"),
    (train('randomness.sed=3'), "the config sets 'sed' of Runner.*"),
    (train('optim_wraper.optimizer.lr=1'),
     '--cfg-options optim_wraper.optimizer.lr: there is no setting '
     'optim_wraper; is optim_wrapper meant[?]'),
    (train('data_root=/sets'),
     '--cfg-options data_root: data_root is a variable of the config, .* '
     'change .* train_dataloader.dataset.data_root.'),
    (train('seed'), r'--cfg-options: seed is not KEY=VALUE. \(--help .*'),
    (train('load_from=https://localhost:9/x.pth'),
     r'the download of https://localhost:9/x.pth failed \(.*refused\): check '
     'the network, or give a file as load_from .*'),
    (train('load_from=a.npz'), 'a.npz is not a checkpoint, .*'),
    (('train', 'config.py', '--resume', 'no.pth'),
     'checkpoint no.pth does not exist.'),
    (('train', 'config.py', '--resume', 'torn.pth'),
     'torn.pth is not a checkpoint, or was cut short .*: give another one.'),
    (('train', 'config.py', '--resume', 'weights.pth'),
     'weights.pth has no message_hub, .* give it as load_from.'),
    (resume(f'{BACKBONE}is_shift=False'),
     'epoch_1.pth does not fit .*: it is of a network with temporal shift: '
     'set model.backbone.is_shift=True.'),
    (resume('model.cls_head.num_classes=4', NO_CLASS_LIST,
            NO_CLASS_LIST.replace('test', 'val'),
            NO_CLASS_LIST.replace('test', 'train')),
     r'epoch_1.pth does not fit .*: cls_head.fc_cls.weight has shape \(8, 64\)'
     r' instead of \(4, 64\) \(and 1 more\); use the config it was trained '
     'with.'),
    (resume(f'{BLOCK}window=(3,9,9)'),
     r'epoch_1.pth does not fit .*: backbone.selfy.layer1.\S+ has shape .* '
     'instead of .*; use the config it was trained with.'),
    (train(f'{BACKBONE}is_shift=False', 'load_from=weights.pth'),
     'weights.pth does not fit .*: it is of a network with temporal shift: '
     'set model.backbone.is_shift=True.'),
    (train(f'{BACKBONE}depth=34', 'load_from=weights.pth'),
     r'weights.pth does not fit .*: \S+ is missing .*; use the config .*'),
    (('train', 'config.py', '--work-dir', 'config.py/run'),
     r'work_dir config.py/run cannot be created \(Not a directory\): give .*'),
    (('train', 'config.py', '--launcher', 'mip'),
     ".*--launcher: invalid choice: 'mip' .*pytorch.*"),
    (('train', 'config.py', '--launcher', 'pytorch'),
     '--launcher pytorch, but RANK is not set: start with tools/dist_.*'),
    (('train', 'config.py', '--seed', 'x'), ".*--seed: invalid int .* 'x' .*"),
    (('train', 'config.py', '--epochs', '3'), '.*: --epochs 3 .*'),
    (('train', 'no.py'), 'config no.py does not exist.'),
    (('train', 'data/classes.txt'),
     'config data/classes.txt cannot be read: Only py/.* supported now!'),
    (('train', 'syntax.py'), 'config syntax.py cannot be read: SyntaxError.*'),
    (('train', 'empty.py'), 'config empty.py has no model: give one .*'),
    # the data
    (train(f'{DATASET}ann_file=no.txt'),
     'annotation file data/no.txt of train_dataloader does not exist.'),
    (train(f'{DATASET}ann_file=empty.txt'),
     'data/empty.txt is empty: give a list of lines `FILE LABEL`.'),
    (train(f'{DATASET}ann_file=mark.txt'),
     'data/mark.txt begins with a byte-order mark: save it as UTF-8 without '
     'one.'),
    (('check_data', 'config.py', '--cfg-options',
      f'{DATASET}ann_file=mark.txt'),
     'data/mark.txt begins with a byte-order mark: .*'),
    (train(f'{DATASET}ann_file=bad_label.txt'),
     "data/bad_label.txt: line 2 is 'left1.mp4 left', where .* expected."),
    (train(f'{DATASET}ann_file=negative.txt'),
     'data/negative.txt: line 1 has label -1 .*: labels go from 0 to 7.'),
    (train(f'{DATASET}ann_file=high.txt'),
     'data/high.txt: line 1 has label 8 .*: labels go from 0 to 7.'),
    (train(f'{DATASET}ann_file=columns.txt'),
     "data/columns.txt: line 1 is 'left0.mp4 17 0', where `FILE LABEL` .*"),
    (train(f'{DATASET}ann_file=outside.txt'),
     "data/outside.txt: line 1 leads out of data/videos: '/etc/passwd'; .*"),
    (train(f'{DATASET}data_prefix.video=film'),
     'folder data/film of the clips in data/train.txt does not exist: set .*'),
    (train(f'{DATASET}metainfo.classes=no.txt'), 'file no.txt does not .*'),
    (train(f'{DATASET}type=VideoDatset'),
     "the config names the dataset 'VideoDatset', which is not known: .*"),
    (train(f'{DATASET}pipeline.0.type=OpenCV'),
     "the config names the transform 'OpenCV', which is not known: .*"),
    (('train', 'frames.py'),
     'data/frames/1 has no img_00001.jpg, but 00001.jpg: set '
     "filename_tmpl='img_{:05}.jpg' of the dataset to its names."),
    # the test
    (run_test('model.cls_head.num_classes=4', NO_CLASS_LIST),
     r'weights.pth does not fit .* has shape \(8, 64\) instead of \(4, 64\) '
     r'.*; use the config it was trained with.'),
    (run_test(f'{BACKBONE}depth=34'),
     r'weights.pth does not fit .*\S+ is missing .*; use the config .*'),
    (run_test(f'{BACKBONE}is_shift=False'),
     'weights.pth does not fit .*: it is of a network with temporal shift: '
     'set model.backbone.is_shift=True.'),
    (('test', 'config.py', 'diverged.pth'),
     'diverged.pth has values in cls_head.fc_cls.bias that are not finite: .*'
     'give an earlier checkpoint.'),
    (run_test('test_evaluator.type=Accuracy'),
     "the config names the metric 'Accuracy', which is not known: .*"),
    (('test', 'config.py', 'weights.pth', '--dump', 'config.py/a.npz'),
     '--dump config.py/a.npz: folder config.py cannot be created .*'),
    (('test', 'config.py', 'weights.pth', '--dump', 'a.txt'),
     '--dump a.txt: give it the ending .npz.'),
    (('test', 'config.py'), '.* required: checkpoint .*'),
    # predicting and exporting
    (predict(video='data/videos/notes.txt'),
     'data/videos/notes.txt is not a video: it begins with .*'),
    (predict(video='no.mp4'), 'video no.mp4 does not exist.'),
    (predict(video='data/frames'), 'folder data/frames holds no video .*'),
    (predict('--labels', 'data/train.txt'),
     'data/train.txt names 6 classes, but the model has 8: give .*'),
    (predict('--labels', 'weights.pth'),
     'weights.pth is not a text file in UTF-8: give .*'),
    (predict('--topk', '0'), '--topk 0: give .*'),
    (predict('--device', 'gpu'), 'device gpu: Expected one of cpu, cuda, .*'),
    (predict('--backend',
             'onnx'), 'weights.pth is not an ONNX model that .* can read.'),
    (('export_onnx', 'config.py', 'weights.pth', 'data'),
     'data is a folder: give the name of a file.'),
    (('export_onnx', 'config.py', 'weights.pth', 'config.py/a.onnx'),
     '.*config.py.*'),
    # the other tools
    (('ensemble', 'a.npz', 'b.npz'),
     'a.npz has 1 samples of 8 classes, but b.npz has 1 samples of 3 .*: test '
     'both on the same list.'),
    (('ensemble', 'a.npz', 'other.npz'),
     '1 of 1 samples have another label: .* in a.npz and 1 in other.npz; .*'),
    (('ensemble', 'a.pkl'),
     'a.pkl is a pickle, .*: write an .npz with tools/test.py CONFIG .*'),
    (('ensemble', 'weights.pth'), 'weights.pth is not a dump .*: give one .*'),
    (('ensemble', 'a.npz', '--weights', '1', '2'),
     '--weights gives 2 numbers for 1 dumps: give one for each.'),
    (('convert_checkpoint', 'weights.pth', 'out.pth'),
     'weights.pth: Not a state dict of the official .*'),
    (('publish_model', 'weights.pth'),
     'weights.pth does not name its config .*: give --config.'),
    (('get_flops', 'config.py', '--shape', '0', '1'),
     r'--shape \[0, 1\]: give positive numbers.'),
    (('eval_protocol', 'sthv1_8_16_2clip', '--checkpoints', 'weights.pth'),
     '--checkpoints gives 1 files, but sthv1_8_16_2clip needs 2: .*'),
    (('benchmark', '--rounds', '0'), '--rounds 0: give 1 or more.'),
    (('data/prepare', 'sthv1', 'no'), 'folder no does not exist.'),
    (('data/prepare', 'sthv1', 'data'),
     '.*-v1-labels.csv is neither in .*: put the annotations .* there.'),
    (('projects/motion/make_motion', 'data'),
     'data holds something other than .*: remove it or choose another .*'),
    (('projects/motion/make_motion', 'new', '--train', '3'),
     'the train clips should be a positive multiple of 8.*, but got 3'),
]


@pytest.mark.parametrize(
    'call, message', MISTAKES, ids=[' '.join(call) for call, _ in MISTAKES])
def test_a_mistake_is_one_line(make_mistake, call, message):
    line, code = make_mistake(*call)
    tool = call[0].split('/')[-1]
    assert re.fullmatch(f'{tool}.py: error: {message}', line), line
    assert code in (1, 2, True)


@pytest.mark.parametrize('tool, args, package', [
    ('predict', predict('--backend', 'onnx')[1:], 'onnxruntime'),
    ('export_onnx', ('config.py', 'weights.pth', 'a.onnx'), 'onnxscript'),
])
def test_a_missing_package_is_one_line(make_mistake, monkeypatch, tool, args,
                                       package):
    monkeypatch.setitem(sys.modules, package, None)
    line, _ = make_mistake(tool, *args)
    assert re.fullmatch(
        f'{tool}.py: error: {package} cannot be imported .*: pip install '
        'onnx onnxscript onnxruntime', line)


@pytest.mark.skipif(torch.cuda.is_available(), reason='works on a GPU')
@pytest.mark.parametrize('call, message', [
    (('train', 'config.py', '--amp'), '--amp needs a GPU, and there is none.'),
    (predict('--device', 'cuda:1'), 'device cuda:1: .* CUDA .*'),
])
def test_no_gpu_is_one_line(make_mistake, call, message):
    assert re.fullmatch(f'{call[0]}.py: error: {message}',
                        make_mistake(*call)[0])


@pytest.mark.parametrize('script, args', [
    ('dist_train', ['config.py', 'all']),
    ('dist_test', ['config.py', 'weights.pth', '0']),
])
def test_number_of_processes(repo, script, args):
    done = subprocess.run(['bash', repo / f'tools/{script}.sh', *args],
                          capture_output=True,
                          text=True)
    assert done.returncode == 2
    assert done.stderr == (f'{script}.sh: error: GPUS is {args[-1]}: give a '
                           'number of processes.\n')


def test_a_message_of_many_lines_is_one(make_mistake, monkeypatch, load_tool):
    """An unforeseen error is given with its type and a hint."""

    def fail(self):
        raise RuntimeError('first\n\tsecond' + ' and more' * 200)

    monkeypatch.setattr('mmengine.runner.Runner.train', fail)
    line, _ = make_mistake('train', 'config.py')
    assert re.fullmatch(
        r'train.py: error: RuntimeError: first second( and more)+( and)? '
        r'\.\.\. \(--traceback shows where\)', line)
    assert len(line) < 700


def test_a_wrong_width_elsewhere_is_not_the_classifiers(
        make_mistake, monkeypatch):

    def forward(self, x):
        return nn.Linear(80, 4)(x.flatten(5))

    monkeypatch.setattr(STSSConvExtraction, 'forward', forward)
    line, _ = make_mistake('train', 'config.py')
    assert re.fullmatch(
        r'train.py: error: RuntimeError: mat1 and mat2 shapes cannot be '
        r'multiplied \(\d+x81 and 80x4\) \(--traceback shows where\)', line)


def test_traceback_on_request(project, load_tool, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setattr(sys, 'argv', ['train.py', 'no.py', '--traceback'])
    with pytest.raises(FileNotFoundError, match='no.py does not exist'):
        load_tool('train').main()


def test_every_tool_can_show_tracebacks(repo, load_tool, monkeypatch, capsys):
    tools = [
        path for folder in ('tools', 'tools/data', 'projects/*', 'benchmarks')
        for path in repo.glob(f'{folder}/*.py')
        if "if __name__ == '__main__'" in path.read_text()
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
