"""Measure how far things move between the frames that the networks see.

In cells of the block, which compares places 8 pixels apart, up to four cells
away. By OpenCV's DIS optical flow, on the training clips.
"""
import argparse
import csv
from pathlib import Path

import cv2
import numpy as np
from report import SETS

from selfy_mmaction.datasets.video import VideoFile

FRAMES, SIDE, CELL, REACH = 8, 88, 8, 4


def displacements(path: Path) -> list[float]:
    """The 99th percentile over the pixels, for each pair of frames."""
    flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    with VideoFile(path) as video:
        middles = (np.arange(FRAMES) + 0.5) * len(video) / FRAMES
        frames = video.frames(middles.astype(int))
    frames = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (SIDE, SIDE))
        for frame in frames
    ]
    return [
        np.percentile(np.linalg.norm(flow.calc(*pair, None), axis=-1), 99)
        for pair in zip(frames, frames[1:], strict=False)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('data', type=Path, help='folder of the sets')
    data = parser.parse_args().data
    print('| set | median | 90th percentile | below half a cell | '
          'out of reach |\n| --- | --- | --- | --- | --- |')
    for name, (title, _) in SETS.items():
        with open(data / name / 'clips.csv') as file:
            rows = [*csv.DictReader(file)]
        cells = np.concatenate([
            displacements(data / name / row['clip'])
            for row in rows if row['split'] == 'train'
        ]) / CELL
        print(f'| {title.split(",")[0]} | {np.median(cells):.1f} | '
              f'{np.percentile(cells, 90):.1f} | {(cells < .5).mean():.0%} | '
              f'{(cells > REACH).mean():.0%} |')


if __name__ == '__main__':
    main()
