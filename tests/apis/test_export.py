"""Recognizers to ONNX models."""
import pytest
from mmaction.models.recognizers import Recognizer2D

from selfy_mmaction.apis.export import export
from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.apis.onnx import ONNXClassifier
from selfy_mmaction.engine import launch


class Sharpened(Recognizer2D):
    """Changes its scores in testing, which an export does not know."""

    def predict(self, inputs, data_samples, **kwargs):
        scores = self._forward(inputs, stage='head')
        return self.cls_head.predict_by_feat(2 * scores, data_samples)


def test_only_a_verified_model_is_left(published, save_checkpoint, tmp_path):
    # one stage without a block: quick to export
    cfg = launch.load_config(
        published[0], {
            'model.backbone.num_stages': 1,
            'model.backbone.strides': (1, ),
            'model.backbone.dilations': (1, ),
            'model.backbone.out_indices': (0, ),
            'model.backbone.selfy_indices': (),
            'model.cls_head.in_channels': 64
        })
    checkpoint = save_checkpoint(cfg, tmp_path / 'tsm.pth')
    predictor = VideoPredictor(cfg, str(checkpoint), 'cpu')
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
