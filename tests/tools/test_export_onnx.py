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

from selfy_mmaction.apis.export import OPSET
from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.apis.onnx import ONNXPredictor, normalize
from selfy_mmaction.datasets.recipes import find_step
from selfy_mmaction.engine import launch

SHAPE = (8, 3, 64, 64)
CLASSES = [f'move {direction}' for direction in range(8)]


@pytest.fixture(scope='module')
def config(published):
    """The network of the quickstart, for clips of 64 x 64."""
    return published[0]


@pytest.fixture(scope='module')
def checkpoint(config, save_checkpoint, tmp_path_factory):
    path = tmp_path_factory.mktemp('untrained') / 'tiny.pth'
    return save_checkpoint(launch.load_config(config, {}), path, CLASSES)


@pytest.fixture(scope='module')
def exported(repo, config, checkpoint, video_dir, tool_env):
    """The model that takes raw frames."""
    path = checkpoint.with_name('tiny.onnx')
    command = [sys.executable, repo / 'tools/export_onnx.py', config]
    command += [checkpoint, path, '--raw', '--fuse', '--video']
    done = subprocess.run([*command, video_dir / 'left0.mp4'],
                          env=tool_env,
                          capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert 'torchvision' not in done.stderr
    assert [
        line.split(':')[0].split('/')[-1] for line in done.stdout.splitlines()
    ] == ['random clips', 'left0.mp4', 'tiny.onnx']
    assert {file.name
            for file in path.parent.iterdir()} == {'tiny.onnx', 'tiny.pth'}
    return str(path)


@pytest.mark.parametrize('average', ['score', 'prob'])
def test_views_are_averaged_as_the_config_says(config, checkpoint, exported,
                                               video_dir, average):
    cfg = launch.load_config(config, {})
    cfg.model.cls_head.average_clips = average
    find_step(cfg.test_dataloader.dataset.pipeline,
              'SampleFrames').twice_sample = True
    predictor = VideoPredictor(cfg, str(checkpoint), 'cpu')
    model, video = predictor.model, str(video_dir / 'left0.mp4')
    how = model.data_preprocessor
    clips = predictor.read(video)['inputs'].unflatten(0, (2, -1))
    with torch.no_grad():
        # [V, T, 3, H, W], two views => logits [V, K]
        logits = model(
            normalize(clips, how.mean, how.std, how.to_rgb),
            mode='tensor',
            stage='head')
    ways = dict(
        score=logits.mean(0).softmax(0), prob=logits.softmax(1).mean(0))
    # The two ways differ on this video.
    assert not torch.allclose(*ways.values(), atol=1e-4)
    for network in predictor, ONNXPredictor(cfg, exported):
        best = {x['label']: x['score'] for x in network(video, 8)}
        torch.testing.assert_close(
            torch.tensor([best[i] for i in range(8)]),
            ways[average],
            rtol=1e-3,
            atol=1e-5)


def test_the_model_alone_classifies_raw_clips(exported, config, checkpoint):
    model = VideoPredictor(
        launch.load_config(config, {}), str(checkpoint), 'cpu').model
    session = onnxruntime.InferenceSession(exported)
    for number in 1, 2, 5:
        torch.manual_seed(number)
        clips = torch.randint(256, (number, *SHAPE), dtype=torch.uint8)
        ours, = session.run(None, {'clips': clips.numpy()})
        with torch.no_grad():
            samples = model.test_step(
                dict(
                    inputs=list(clips),
                    data_samples=[ActionDataSample() for _ in clips]))
        theirs = np.stack([sample.pred_score for sample in samples])
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-6)
        assert theirs.max() > 2 * theirs.min()

    meta = session.get_modelmeta().custom_metadata_map
    meta = {key: json.loads(value) for key, value in meta.items()}
    assert meta['classes'] == CLASSES and meta['raw'] is True
    assert tuple(meta['clip_shape']) == SHAPE
    assert meta['mean'] == pytest.approx([123.675, 116.28, 103.53])

    # The graph is folded.
    graph = onnx.load(exported)
    onnx.checker.check_model(graph)
    assert [(x.domain, x.version) for x in graph.opset_import] == [('', OPSET)]
    operators = {node.op_type for node in graph.graph.node}
    assert not operators & {
        'BatchNormalization', 'Rsqrt', 'Dropout', 'If', 'Loop'
    }
    parameters = 1.5e6
    assert sum(np.prod(x.dims)
               for x in graph.graph.initializer) < 1.1 * parameters


@pytest.mark.parametrize('args', [[], ['--window', '1']])
def test_predictions_are_those_of_pytorch(run_tool, config, checkpoint,
                                          exported, video_dir, capsys, args):
    answers = []
    for model in (checkpoint, '--device', 'cpu'), (exported, '--backend',
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


def test_another_config_is_refused(exported, main_config, run_tool):
    assert run_tool(
        'predict', 'any.mp4', main_config, exported, '--backend',
        'onnx') == (f'predict.py: error: {exported} takes clips of shape '
                    f'{SHAPE}, but the config makes (8, 3, 224, 224): use '
                    'the config that it was exported with.')
