"""tools/predict.py."""
import json
import shutil

import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.registry import init_default_scope

from selfy_mmaction.engine.inference import VideoPredictor


@pytest.fixture
def predict(run_tool, trained, capsys):
    """Run predict.py on a video and return its code, output and errors."""

    def run(video, *args):
        code = run_tool('predict', video, trained.config, trained.checkpoint,
                        '--device', 'cpu', *args, '--cfg-options',
                        *trained.options)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_table_of_a_video(predict, video_dir, class_names):
    video = video_dir / 'left0.mp4'
    code, out, _ = predict(video, '--topk', '2')
    assert not code
    first, *lines = out.splitlines()
    assert first == str(video)
    scores, names = zip(*(line.split('%  ') for line in lines), strict=True)
    assert 100 > float(scores[0]) >= float(scores[1]) > 0
    # the names that the training kept in the checkpoint
    assert set(names) < set(class_names)


def test_json_of_a_folder_is_all_of_the_output(predict, video_dir, tmp_path):
    folder = tmp_path / 'videos'
    folder.mkdir()
    for name in 'right0.mp4', 'left0.mp4', 'notes.txt':
        shutil.copy(video_dir / name, folder)
    labels = tmp_path / 'labels.txt'
    labels.write_text(''.join(f'name {i}\n' for i in range(174)))
    code, out, _ = predict(folder, '--json', '--labels', labels, '--topk',
                           '200')
    assert not code
    answers = json.loads(out)
    assert [a['video'] for a in answers] == [
        str(folder / 'left0.mp4'), str(folder / 'right0.mp4')
    ]
    for answer in answers:
        scores = [p['score'] for p in answer['predictions']]
        assert scores == sorted(scores, reverse=True)
        assert sum(scores) == pytest.approx(1)
        assert all(p['name'] == f'name {p["label"]}'
                   for p in answer['predictions'])


def test_broken_videos_are_named_and_passed_over(predict, video_dir, tmp_path):
    folder = tmp_path / 'mixed'
    folder.mkdir()
    shutil.copy(video_dir / 'left0.mp4', folder / 'b.mp4')
    whole = (folder / 'b.mp4').read_bytes()
    (folder / 'a.mp4').write_bytes(whole[:9000])
    (folder / 'c.mp4').write_text('Not a video.')
    (folder / 'd.webm').touch()
    code, out, err = predict(folder, '--json')
    assert code == 1
    assert [a['video'] for a in json.loads(out)] == [str(folder / 'b.mp4')]
    errors = [line for line in err.splitlines() if 'error:' in line]
    assert [line.split(': ')[2] for line in errors] == [
        f'{folder / name} cannot be decoded as a video'
        for name in ('a.mp4', 'c.mp4', 'd.webm')
    ]


def test_classes_are_numbers_without_names(trained, video_dir, tmp_path):
    saved = torch.load(trained.checkpoint)
    path = tmp_path / 'nameless.pth'
    torch.save({'state_dict': saved['state_dict']}, path)
    predict = VideoPredictor(trained.load_config(), str(path), 'cpu')
    best, = predict(str(video_dir / 'left0.mp4'), topk=1)
    assert best['name'] == f'class {best["label"]}'


def test_frames_of_a_video_are_the_raw_frames(trained, video_dir, sthv1_root):
    cfg = trained.load_config()
    init_default_scope('mmaction')
    predict = VideoPredictor(cfg, trained.checkpoint, 'cpu')
    cfg.test_dataloader.dataset.ann_file = 'sthv1_train_list_rawframes.txt'
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    video = str(video_dir / 'right0.mp4')
    frames = predict.pipeline(dict(filename=video, start_index=0, label=-1))
    difference = frames['inputs'].float() - dataset[0]['inputs'].float()
    # One frame earlier or later, the difference would be 30 or more.
    assert difference.abs().mean() < 10

