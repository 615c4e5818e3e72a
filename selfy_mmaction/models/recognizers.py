"""A recognizer that tests many views of a video in bounded memory."""
import torch
from mmaction.models.recognizers import Recognizer2D
from mmaction.utils import SampleList
from torch import Tensor

from ..registry import MODELS


@MODELS.register_module()
class BoundedViewsRecognizer2D(Recognizer2D):
    """Recognizer2D that tests a bounded number of views at a time.

    MMAction2 1.2 has ``max_testing_views`` in ``test_cfg`` for this, which
    fails for every 2D backbone. Here only the scores of a view are kept, not
    its features. The weights are those of a Recognizer2D.

    Args:
        max_testing_views (int): Number of views, that is clips x crops, per
            forward pass.
        **kwargs: Arguments of MMAction2's Recognizer2D. The head must have
            ``num_segments``, as TSMHead does.

    Raises:
        ValueError: If ``max_testing_views`` is not a positive integer.
    """

    def __init__(self, max_testing_views: int, **kwargs):
        super().__init__(**kwargs)
        if not isinstance(max_testing_views, int) or max_testing_views < 1:
            raise ValueError('max_testing_views must be a positive integer, '
                             f'but got {max_testing_views!r}.')
        self.max_testing_views = max_testing_views

    def predict(self, inputs: Tensor, data_samples: SampleList,
                **kwargs) -> SampleList:
        """Predict each video from its views.

        Args:
            inputs (Tensor): [N, V * T, 3, H, W], the frames of V views.
            data_samples (SampleList): One sample per video.

        Raises:
            ValueError: If the frames of a video are not V clips.
        """
        T = self.cls_head.num_segments
        if inputs.shape[1] % T:
            raise ValueError(
                f'{inputs.shape[1]} frames of a video should be a multiple of '
                f'model.cls_head.num_segments={T}: set it to what the '
                'pipeline samples (clip_len x num_clips).')
        # [N, V * T, 3, H, W] => [N * V, T, 3, H, W]
        views = inputs.view(-1, T, *inputs.shape[2:])
        scores = torch.cat([
            self._forward(batch, stage='head')
            for batch in views.split(self.max_testing_views)
        ])
        return self.cls_head.predict_by_feat(scores, data_samples)
