"""tools/export_onnx.py, and tools/predict.py with its models."""
import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from mmaction.structures import ActionDataSample

from selfy_mmaction.apis.export import OPSET, verify
from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.apis.onnx import ONNXClassifier, ONNXPredictor
from selfy_mmaction.datasets.recipes import find_step
from selfy_mmaction.engine import launch

SHAPE = (8, 3, 64, 64)
CLASSES = [f'move {direction}' for direction in range(8)]


@pytest.fixture
def cfg(config):
    return launch.load_config(config, {})


@pytest.fixture(scope='module')
def config(published):
    """The network of the quickstart, for clips of 64 x 64."""
    return published[0]


@pytest.fixture(scope='module')
def checkpoint(config, save_checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp('untrained') / 'tiny.pth'
    return save_checkpoint(launch.load_config(config, {}), path, CLASSES)


@pytest.fixture
def predictor(cfg, checkpoint):
    return VideoPredictor(cfg, str(checkpoint), 'cpu')


@pytest.fixture(scope='module')
def exported(repo, config, checkpoint, video_dir, tool_env):
    """The model that takes raw frames, and what the tool said."""
    path = checkpoint.with_name('tiny.onnx')
    done = subprocess.run([
        sys.executable, repo / 'tools/export_onnx.py', config, checkpoint,
        path, '--raw', '--fuse', '--video', video_dir / 'left0.mp4'
    ],
                          env=tool_env,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert 'torchvision' not in done.stderr
    return path, done.stdout


def score(predictor, video):
    """The probabilities of all classes, in their order."""
    found = sorted(predictor(str(video), 8), key=lambda best: best['label'])
    return torch.tensor([best['score'] for best in found])


@pytest.mark.parametrize('average', ['score', 'prob'])
def test_views_are_averaged_as_the_config_says(cfg, checkpoint, exported,
                                               video_dir, average):
    cfg.model.cls_head.average_clips = average
    find_step(cfg.test_dataloader.dataset.pipeline,
              'SampleFrames').twice_sample = True
    predictor = VideoPredictor(cfg, str(checkpoint), 'cpu')
    video = video_dir / 'left0.mp4'
    clips = predictor.read(str(video))['inputs'].unflatten(0, (2, -1))
    with torch.no_grad():
        # [V * T, 3, H, W], two views => logits [V, K]
        logits = torch.cat([
            predictor.model(
                predictor.model.data_preprocessor(
                    dict(inputs=[clip],
                         data_samples=[ActionDataSample()]))['inputs'],
                stage='head') for clip in clips
        ])
    expected = logits.mean(0).softmax(0)
    # The two ways differ on this video.
    assert not torch.allclose(expected, logits.softmax(1).mean(0), atol=1e-4)
    if average == 'prob':
        expected = logits.softmax(1).mean(0)
    torch.testing.assert_close(score(predictor, video), expected)
    ours = score(ONNXPredictor(cfg, str(exported[0])), video)
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-5)


def random_clips(number):
    torch.manual_seed(number)
    return torch.randint(256, (number, *SHAPE), dtype=torch.uint8)


def test_the_model_alone_classifies_raw_clips(exported, predictor):
    path, out = exported
    assert [line.split(':')[0].split('/')[-1] for line in out.splitlines()
            ] == ['random clips', 'left0.mp4', 'tiny.onnx']
    assert sorted(file.name for file in path.parent.iterdir()) == [
        'tiny.onnx', 'tiny.pth'
    ]
    session = onnxruntime.InferenceSession(path)
    for number in 1, 2, 5:
        clips = random_clips(number)
        ours, = session.run(None, {'clips': clips.numpy()})
        with torch.no_grad():
            samples = predictor.model.test_step(
                dict(
                    inputs=list(clips),
                    data_samples=[ActionDataSample() for _ in clips]))
        theirs = np.stack([sample.pred_score for sample in samples])
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
        assert theirs.max() > 2 * theirs.min()

    meta = session.get_modelmeta().custom_metadata_map
    meta = {key: json.loads(value) for key, value in meta.items()}
    assert meta['classes'] == CLASSES
    assert tuple(meta['clip_shape']) == SHAPE
    assert meta['raw'] is True
    assert meta['mean'] == pytest.approx([123.675, 116.28, 103.53])

    # The graph is folded.
    model = onnx.load(path)
    onnx.checker.check_model(model)
    opsets = [(entry.domain, entry.version) for entry in model.opset_import]
    assert opsets == [('', OPSET)]
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {
        'BatchNormalization', 'Rsqrt', 'Dropout', 'If', 'Loop'
    }
    parameters = 1.5e6
    assert sum(np.prod(x.dims)
               for x in model.graph.initializer) < 1.1 * parameters


@pytest.mark.parametrize('args', [[], ['--window', '1']])
def test_predictions_are_those_of_pytorch(run_tool, config, checkpoint,
                                          exported, video_dir, capsys, args):
    answers = []
    for model in (checkpoint, '--device', 'cpu'), (exported[0], '--backend',
                                                   'onnx'):
        assert not run_tool('predict', video_dir / 'left0.mp4', config, *model,
                            '--json', *args)
        answer, = json.loads(capsys.readouterr().out)
        parts = answer['segments'] if args else [answer]
        best = [p for part in parts for p in part['predictions']]
        answers.append(([p['name'] for p in best], [p['score'] for p in best]))
    (ours, scores), (theirs, expected) = answers
    assert ours == theirs
    assert scores == pytest.approx(expected, rel=1e-3)


def test_another_network_is_refused(exported, predictor, main_config,
                                    run_tool):
    classifier = ONNXClassifier(str(exported[0]))
    clips = random_clips(1)
    assert verify(predictor.model, classifier, clips, 'clips') < 1e-4
    predictor.model.cls_head.fc_cls.weight.data[0] *= 1.1
    with pytest.raises(ValueError, match='differs from PyTorch on clips'):
        verify(predictor.model, classifier, clips, 'clips')
    code = run_tool('predict', 'any.mp4', main_config, exported[0],
                    '--backend', 'onnx')
    assert code == (
        f'predict.py: error: {exported[0]} takes clips of shape {SHAPE}, but '
        'the config makes (8, 3, 224, 224): use the config that it was '
        'exported with.')


def test_bad_input_ends_with_one_line(run_tool, config, checkpoint, tmp_path,
                                      monkeypatch):
    args = config, checkpoint, tmp_path / 'out.onnx'
    assert 'does not fit the model of the config' in run_tool(
        'export_onnx', *args, '--cfg-options',
        'model.backbone.selfy_indices=()')
    monkeypatch.setitem(sys.modules, 'onnxscript', None)
    code = run_tool('export_onnx', *args)
    assert 'pip install onnx onnxscript onnxruntime' in code
    assert not list(tmp_path.glob('*.onnx*'))
