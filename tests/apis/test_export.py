"""Recognizers to ONNX models, and what their scores mean."""
import pytest
import torch
from mmaction.models.recognizers import Recognizer2D
from mmaction.registry import MODELS

from selfy_mmaction.apis.export import export, verify
from selfy_mmaction.apis.inference import VideoPredictor, is_multi_label
from selfy_mmaction.apis.onnx import ONNXClassifier, ONNXPredictor, normalize
from selfy_mmaction.engine import launch

# One stage without a block: quick to export.
SMALL = {
    'model.backbone.num_stages': 1,
    'model.backbone.strides': (1, ),
    'model.backbone.dilations': (1, ),
    'model.backbone.out_indices': (0, ),
    'model.backbone.selfy_indices': (),
    'model.cls_head.in_channels': 64
}


class Sharpened(Recognizer2D):
    """Changes its scores in testing, which an export does not know."""

    def predict(self, inputs, data_samples, **kwargs):
        scores = self._forward(inputs, stage='head')
        return self.cls_head.predict_by_feat(2 * scores, data_samples)


def predictor_of(config, options, save_checkpoint, folder):
    cfg = launch.load_config(config, {**SMALL, **options})
    checkpoint = save_checkpoint(cfg, folder / 'tsm.pth')
    return cfg, VideoPredictor(cfg, str(checkpoint), 'cpu')


def test_only_a_verified_model_is_left(published, save_checkpoint, tmp_path):
    cfg, predictor = predictor_of(published[0], {}, save_checkpoint, tmp_path)
    path = tmp_path / 'models' / 'tsm.onnx'
    # normalised floats, batch norms not fused
    differences = export(predictor, cfg, str(path))
    assert differences['random clips'] < 1e-4
    assert ONNXClassifier(str(path)).meta['raw'] is False
    before = path.read_bytes()

    predictor.model.__class__ = Sharpened
    with pytest.raises(ValueError, match='differs from PyTorch on random'):
        export(predictor, cfg, str(path), fuse=True)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_several_classes_at_once(published, save_checkpoint, pan, tmp_path):
    """Sigmoids, in PyTorch and in ONNX Runtime, averaged over two views."""
    options = {
        'model.cls_head.multi_class': True,
        'model.cls_head.loss_cls': dict(type='BCELossWithLogits'),
        'test_dataloader.dataset.pipeline.1.twice_sample': True,
    }
    path = str(tmp_path / 'tsm.onnx')
    for average in 'prob', 'score':
        options['model.cls_head.average_clips'] = average
        cfg, predictor = predictor_of(published[0], options, save_checkpoint,
                                      tmp_path)
        model, frames = predictor.model, predictor.read(pan)['inputs']
        how, clips = model.data_preprocessor, frames.unflatten(0, (2, 8))
        with torch.no_grad():
            logits = model(
                normalize(clips, how.mean, how.std, how.to_rgb),
                mode='tensor',
                stage='head')
        assert logits.shape == (2, len(predictor.classes))
        expected = (
            logits.mean(0).sigmoid()
            if average == 'score' else logits.sigmoid().mean(0))
        if average == 'prob':
            export(predictor, cfg, path, video=pan)
        scores, labels = expected.topk(3)
        for network in predictor, ONNXPredictor(cfg, path):
            best = network(pan, topk=3)
            assert [x['label'] for x in best] == labels.tolist()
            assert [x['score'] for x in best] == pytest.approx(
                scores.tolist(), abs=1e-4)
    predictor.model.__class__ = Sharpened
    clips = torch.randint(0, 256, (1, *ONNXClassifier(path).clip_shape))
    with pytest.raises(ValueError, match='differs from PyTorch on noise'):
        verify(predictor.model, ONNXClassifier(path), clips, 'noise')


@pytest.mark.parametrize('options, expected', [
    (dict(), False),
    (dict(multi_class=True), False),
    (dict(loss_cls=dict(type='BCELossWithLogits')), True),
    (dict(
        loss_cls=dict(type='CBFocalLoss', samples_per_cls=[1, 2]),
        multi_class=True), True),
])
def test_the_loss_says_what_scores_mean(options, expected):
    head = MODELS.build(
        dict(type='TSMHead', num_classes=2, in_channels=4, **options))
    assert is_multi_label(head) == expected
