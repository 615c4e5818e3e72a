"""Hooks of the command-line tools."""
import math
import os
import os.path as osp
from collections.abc import Sequence

import cv2
import numpy as np
from mmaction.structures import ActionDataSample
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor

from ..datasets.loading import clip_name
from .checkpoint import check_state_dict, get_state_dict


class CheckDataHook(Hook):
    """Refuses to train on less than a batch.

    MMEngine runs epochs of no batch without a word.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the training data once."""
        loader = runner.train_dataloader
        if len(loader) == 0:
            raise ValueError(
                f'train_dataloader has no batch: {len(loader.dataset)} clips '
                f'among {runner.world_size} processes are less than a batch '
                f'of {loader.batch_size}.')


class CheckNumbersHook(Hook):
    """Ends a run at the first loss or score that is not finite.

    A training never recovers from it, and the scores have a class of their
    own choice for a maximum.
    """

    def after_train_iter(self, runner: Runner, batch_idx: int,
                         data_batch: dict, outputs: dict) -> None:
        """Check the loss, which is on the CPU for the log anyway."""
        loss = outputs['loss'].item()
        if not math.isfinite(loss):
            rate = runner.optim_wrapper.get_lr()
            rate = next(iter(rate.values()))[0]
            raise ValueError(
                f'the loss is {loss} in epoch {runner.epoch + 1}, iteration '
                f'{runner.iter + 1}: lower optim_wrapper.optimizer.lr (the '
                f'rate is {rate:.2g} there) or set optim_wrapper.clip_grad, '
                'and resume from the last checkpoint.')

    def after_test_iter(self, runner: Runner, batch_idx: int,
                        data_batch: dict,
                        outputs: Sequence[ActionDataSample]) -> None:
        """Check the scores of a batch."""
        for sample in outputs:
            if not sample.pred_score.isfinite().all():
                raise ValueError(
                    f'scores are not finite in iteration {batch_idx + 1} of '
                    'the test: the weights are damaged or have diverged; give '
                    'an earlier checkpoint.')

    after_val_iter = after_test_iter


class StrictLoadHook(Hook):
    """Refuses a checkpoint that does not fill the model exactly.

    MMEngine's runner loads what fits and logs a warning about the rest, which
    is right for initialising a training, and wrong for a test.
    """

    # after the EMA hook, which chooses the weights that are tested
    priority = 'LOWEST'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights before they are loaded."""
        model = runner.model
        if is_model_wrapper(model):
            model = model.module
        check_state_dict(model, get_state_dict(checkpoint),
                         runner.cfg.load_from)


class DrawPredictionsHook(Hook):
    """Draws tested clips, frame by frame, with their true and found class.

    MMAction2 1.2 has a hook for this, which fails: the visualizer that it
    calls takes other arguments.

    Args:
        show_dir (str, optional): Folder for one picture per clip.
        show (bool): Whether to show the pictures. Defaults to False.
        interval (int): Draw every so many clips. Defaults to 1.
        wait_time (float): Seconds to show a picture. Defaults to 2.
    """

    def __init__(self,
                 show_dir: str | None = None,
                 show: bool = False,
                 interval: int = 1,
                 wait_time: float = 2) -> None:
        self.show_dir = show_dir
        self.show = show
        self.interval = interval
        self.wait_time = wait_time

    def before_test(self, runner: Runner) -> None:
        """Make the folder."""
        if self.show_dir:
            os.makedirs(self.show_dir, exist_ok=True)

    def after_test_iter(self, runner: Runner, batch_idx: int,
                        data_batch: dict,
                        outputs: Sequence[ActionDataSample]) -> None:
        """Draw the clips of a batch."""
        loader = runner.test_dataloader
        for i, (clip, sample) in enumerate(
                zip(data_batch['inputs'], outputs, strict=True)):
            # The sampler deals the clips out to the processes in turn.
            index = batch_idx * loader.batch_size + i
            index = index * runner.world_size + runner.rank
            # It fills up the last round with clips from the beginning.
            if index % self.interval or index >= len(loader.dataset):
                continue
            picture = draw_clip(
                clip, sample, loader.dataset.metainfo.get('classes'))
            info = loader.dataset.get_data_info(index)
            source = osp.splitext(osp.basename(clip_name(info)))[0]
            name = f'{index:06}_{source}'
            if self.show_dir:
                cv2.imwrite(osp.join(self.show_dir, f'{name}.png'), picture)
            if self.show:
                cv2.imshow('prediction', picture)
                cv2.waitKey(int(1000 * self.wait_time))


def draw_clip(clip: Tensor, sample: ActionDataSample,
              classes: Sequence[str] | None) -> np.ndarray:
    """Put the frames of a clip in a row, under a line of text each for truth
    and prediction.

    Args:
        clip (Tensor): RGB frames, [T, 3, H, W] or [M, 3, T, H, W].
        sample (ActionDataSample): The true and the predicted label.
        classes (Sequence[str], optional): The names of the labels.
    """
    # [M, 3, T, H, W] => [M * T, 3, H, W] => [H, M * T * W, 3]
    frames = clip.movedim(1, -3).flatten(0, -4).permute(2, 0, 3, 1)
    row = frames.flatten(1, 2).byte().cpu().numpy()
    truth, found = sample.gt_label.item(), sample.pred_label.item()
    score = sample.pred_score[found].item()
    names = classes or [f'class {i}' for i in range(len(sample.pred_score))]
    lines = [f'true: {names[truth]}', f'found: {names[found]} ({score:.2f})']
    head = np.full((20 * len(lines), row.shape[1], 3), 255, np.uint8)
    for i, line in enumerate(lines):
        cv2.putText(head, line, (4, 20 * i + 15), cv2.FONT_HERSHEY_SIMPLEX,
                    0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.vstack([head, row[..., ::-1]])
