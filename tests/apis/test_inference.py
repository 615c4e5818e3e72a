"""Predicting on video files."""
import torch
from mmaction.registry import DATASETS

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.engine import launch


def test_classes_are_numbers_without_names(published, video_dir, tmp_path):
    config, checkpoint = published
    saved = torch.load(checkpoint)
    path = tmp_path / 'nameless.pth'
    torch.save({'state_dict': saved['state_dict']}, path)
    predict = VideoPredictor(launch.load_config(config, {}), str(path), 'cpu')
    best, = predict(str(video_dir / 'left0.mp4'), topk=1)
    assert best['name'] == f'class {best["label"]}'


def test_frames_of_a_video_are_the_raw_frames(tiny_config, save_checkpoint,
                                              video_dir, tmp_path):
    cfg = tiny_config
    checkpoint = save_checkpoint(cfg, tmp_path / 'weights.pth')
    predict = VideoPredictor(cfg, str(checkpoint), 'cpu')
    cfg.test_dataloader.dataset.ann_file = 'sthv1_train_list_rawframes.txt'
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    video = str(video_dir / 'right0.mp4')
    frames = predict.pipeline(dict(filename=video, start_index=0, label=-1))
    difference = frames['inputs'].float() - dataset[0]['inputs'].float()
    # One frame earlier or later, the difference would be 30 or more.
    assert difference.abs().mean() < 10
