"""Pictures of frames: clips and labels."""
import os
import os.path as osp
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from mmaction.structures import ActionDataSample
from mmengine.hooks import Hook
from mmengine.runner import Runner
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..datasets.bad_clips import clip_name
from ..datasets.lists import numbered_classes
from ..files import write_bytes
from .fonts import find_font

# Narrower frames are enlarged to this width in pixels for a legible label.
_LABEL_WIDTH = 320


def draw_clip(clip: Tensor,
              sample: ActionDataSample,
              classes: Sequence[str] | None,
              logits: bool = False) -> np.ndarray:
    """Put the frames of a clip in a row, below two lines of text with the
    truth and the prediction.

    Args:
        clip (Tensor): RGB frames, [T, 3, H, W] or [M, 3, T, H, W].
        sample (ActionDataSample): The true and the predicted label.
        classes (Sequence[str], optional): The names of the labels.
        logits (bool): Whether the scores of the sample are logits instead of
            probabilities. Defaults to False.

    Returns:
        np.ndarray: RGB of type uint8, [H', W', 3].
    """
    # [M, 3, T, H, W] => [M * T, 3, H, W] => [H, M * T * W, 3]
    frames = clip.movedim(1, -3).flatten(0, -4).permute(2, 0, 3, 1)
    row = frames.flatten(1, 2).byte().cpu().numpy()
    truth, found = sample.gt_label.item(), sample.pred_label.item()
    scores = sample.pred_score.softmax(-1) if logits else sample.pred_score
    score = scores[found].item()
    names = classes or numbered_classes(len(scores))
    lines = [f'true: {names[truth]}', f'found: {names[found]} ({score:.2f})']
    head = Image.new('RGB', (row.shape[1], 20 * len(lines)), 'white')
    draw = ImageDraw.Draw(head)
    for i, line in enumerate(lines):
        font = ImageFont.truetype(find_font(line), 14)
        draw.text((4, 20 * i + 1), line, 'black', font)
    return np.vstack([head, row])


@dataclass(eq=False)
class DrawPredictionsHook(Hook):
    """Draws tested clips, frame by frame, with true and predicted class.

    MMAction2 1.2 has a hook for this, which fails: the visualizer that it
    calls takes other arguments.

    Args:
        logits (bool): Whether the scores are logits instead of probabilities.
        show_dir (str, optional): Folder for one picture per clip.
        show (bool): Whether to show the pictures. Defaults to False.
        interval (int): Draw every ``interval``-th clip. Defaults to 1.
        wait_time (float): Seconds to show a picture. Defaults to 2.
    """

    logits: bool
    show_dir: str | None = None
    show: bool = False
    interval: int = 1
    wait_time: float = 2

    def before_test(self, runner: Runner) -> None:
        """Make the folder."""
        if self.show_dir:
            os.makedirs(self.show_dir, exist_ok=True)

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: dict,
                        outputs: Sequence[ActionDataSample]) -> None:
        """Draw the clips of a batch."""
        loader = runner.test_dataloader
        for i, (clip, sample) in enumerate(
                zip(data_batch['inputs'], outputs, strict=True)):
            # The sampler assigns the clips to the processes in turn.
            index = batch_idx * loader.batch_size + i
            index = index * runner.world_size + runner.rank
            # It pads the last round with clips from the beginning.
            if index % self.interval or index >= len(loader.dataset):
                continue
            picture = draw_clip(clip, sample,
                                loader.dataset.metainfo.get('classes'),
                                self.logits)[..., ::-1]
            info = loader.dataset.get_data_info(index)
            source = osp.splitext(osp.basename(clip_name(info)))[0]
            name = f'{index:06}_{source}'
            if self.show_dir:
                path = osp.join(self.show_dir, f'{name}.png')
                write_bytes(path, cv2.imencode('.png', picture)[1])
            if self.show:
                cv2.imshow('prediction', picture)
                cv2.waitKey(int(1000 * self.wait_time))


def draw_label(frame: np.ndarray, text: str) -> np.ndarray:
    """Write a text at the bottom of a frame, in as many lines as needed.

    Args:
        frame (np.ndarray): RGB of type uint8, [H, W, 3].
        text (str): The text.

    Returns:
        np.ndarray: The frame, enlarged if it is too small for letters, and
        of even size, which codecs need.
    """
    height, width = frame.shape[:2]
    factor = max(1, _LABEL_WIDTH / width)
    width, height = (2 * round(factor * side / 2) for side in (width, height))
    picture = Image.fromarray(frame).resize((width, height))
    size = max(14, width // 24)
    font = ImageFont.truetype(find_font(text), size)
    margin = size // 2
    # a little less than the number of letters that fit on average
    share = 0.95 * (width - 2 * margin) / max(1, font.getlength(text))
    lines = textwrap.wrap(text, max(1, int(share * len(text))))
    draw = ImageDraw.Draw(picture, 'RGBA')
    top = height - 2 * margin - round(1.3 * size * len(lines))
    draw.rectangle((0, top, width, height), (0, 0, 0, 160))
    for i, line in enumerate(lines):
        draw.text((margin, top + margin + 1.3 * size * i), line, 'white', font)
    return np.array(picture)
