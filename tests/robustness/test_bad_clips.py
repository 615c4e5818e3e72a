"""Clips that cannot be read: in training, in tests, and in check_data.py."""
import os
import re
import shutil
import struct
import wave
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import DATASETS
from mmengine.registry import init_default_scope
from mmengine.runner import Runner
from processes import ToolProcess, start_ranks

from selfy_mmaction.datasets.bad_clips import catch_bad_clips
from selfy_mmaction.datasets.transforms import SeededPipeline
from selfy_mmaction.engine import launch


def cut(path):
    """Leave the first half of a file."""
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2])


def empty(path):
    path.write_bytes(b'')


def no_frames(path):
    """Make a video without a frame."""
    cv2.VideoWriter(
        str(path), cv2.VideoWriter_fourcc(*'mp4v'), 12, (132, 100)).release()


def audio_only(path):
    """Leave a second of silence."""
    with wave.open(str(path), 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(16000))


def noise(path):
    """Replace the frames by noise, between headers that are sound."""
    data = bytearray(path.read_bytes())
    start, end = data.index(b'mdat') + 4, data.index(b'moov') - 4
    data[start:end] = np.random.default_rng(0).bytes(end - start)
    path.write_bytes(data)


def write(path, fourcc, clip):
    """Write a clip in another format, and return where its frames end."""
    video = path.with_suffix({'MJPG': '.avi', 'mp4v': '.mkv'}[fourcc])
    writer = cv2.VideoWriter(
        str(video), cv2.VideoWriter_fourcc(*fourcc), 12, clip.shape[2:0:-1])
    for frame in clip:
        writer.write(frame)
    writer.release()
    video.replace(path)
    return path


def lengthen_sound(path):
    """Let a Matroska file last twice as long as its frames."""
    data = bytearray(path.read_bytes())
    place = data.index(b'\x44\x89\x88') + 3
    duration, = struct.unpack_from('>d', data, place)
    struct.pack_into('>d', data, place, 2 * duration)
    path.write_bytes(data)


# clip -> damage, the beginning of what is said of it
DAMAGES = {
    'left0.mp4': (cut, 'is not a video, or is damaged: it begins with b'),
    'right0.mp4': (empty, 'is an empty file'),
    'left1.mp4': (no_frames, 'holds no video'),
    'right1.mp4':
    (audio_only, r"is not a video, or is damaged: it begins with b'RIFF\xa4"),
    'left2.mp4': (os.remove, 'does not exist'),
    'right2.mp4': (noise, '(mpeg4 in mov) has no frame that can be decoded: '
                   '`ffmpeg -i '),
}


@pytest.fixture(scope='module')
def motion(repo, motion_root, motion_options, tmp_path_factory):
    """A copy of the miniature motion data with bad clips in its lists.

    6 of 8 clips to train on, and none to validate on.
    """
    root = tmp_path_factory.mktemp('bad_motion')
    shutil.copytree(motion_root, root / 'data')
    for name, (damage, _) in DAMAGES.items():
        damage(root / 'data/videos' / name)
    options = [
        option.replace(str(motion_root), str(root / 'data'))
        for option in motion_options
    ]
    return SimpleNamespace(
        config=str(repo / 'configs/selfy_tsm_r18_motion.py'),
        root=root / 'data',
        options=['--cfg-options', *options, 'train_cfg.max_epochs=2'])


@pytest.fixture(scope='module')
def skipped(motion, tmp_path_factory):
    """A training of two processes that tolerates all of it."""
    folder = tmp_path_factory.mktemp('skipped')
    processes = start_ranks(2, 'train', [
        motion.config, '--work-dir', 'run', *motion.options,
        'default_hooks.bad_clips.max_share=0.75'
    ], folder)
    codes = [process.wait() for process in processes]
    assert codes == [0, 0], processes[0].log + processes[1].log
    return SimpleNamespace(folder=folder / 'run', log=processes[0].log)


def test_training_names_bad_clips_once_and_goes_on(motion, skipped):
    # 8 clips, 2 of them in a batch of each of the 2 processes
    assert 'Epoch(train) [2][2/2]' in skipped.log
    list_file, = skipped.folder.glob('*/bad_clips.txt')
    listed = dict(
        line.split('\t') for line in list_file.read_text().splitlines())
    expected = {
        str(motion.root / 'videos' / name): reason
        for name, (_, reason) in DAMAGES.items()
    }
    assert listed.keys() == expected.keys()
    for name, reason in expected.items():
        assert listed[name].startswith(reason)
        assert skipped.log.count(f'{name} {listed[name]}: skipped.') == 1
    assert '6 clips were skipped, since they cannot be read' in skipped.log


def test_too_many_bad_clips_end_the_training(motion, tmp_path):
    process = ToolProcess(
        'train', [motion.config, '--work-dir', 'run', *motion.options],
        tmp_path)
    assert process.wait() == 1
    end = process.log.strip().splitlines()[-1]
    match = re.fullmatch(
        r'train.py: error: (\d) of 8 clips cannot be read, which is more than '
        r'default_hooks.bad_clips.max_share=0.05: (.*) \(all in '
        r'(.*/bad_clips.txt)\). tools/check_data.py finds them ahead.', end)
    count, shown, path = match.groups()
    lines = open(path).read().splitlines()
    assert shown.split(', ')[0] == lines[0].replace('\t', ' ')
    assert len(lines) >= int(count) >= 1


@pytest.fixture
def bad_val(motion, tmp_path):
    """Validation clips: one cut short, one missing, one sound."""
    shutil.copytree(motion.root, tmp_path / 'data')
    videos = tmp_path / 'data/videos'
    cut(videos / 'left4.mp4')
    os.remove(videos / 'right4.mp4')
    return SimpleNamespace(
        config=motion.config,
        root=tmp_path / 'data',
        options=[
            option.replace(str(motion.root), str(tmp_path / 'data'))
            for option in motion.options
        ])


def test_testing_ends_at_a_bad_clip(run_tool, bad_val, skipped):
    checkpoint = skipped.folder / 'epoch_2.pth'
    code = run_tool('test', bad_val.config, checkpoint, *bad_val.options)
    assert re.fullmatch(
        r'test.py: error: \S+/left4.mp4 is not a video, or is damaged: .*\. '
        r'tools/check_data.py finds all such clips, tools/test.py --skip-bad '
        r'leaves them out.', code)


def test_skip_bad_tests_the_rest(run_tool, bad_val, skipped, tmp_path):
    dump = tmp_path / 'partial.npz'
    process = ToolProcess('test', [
        bad_val.config, skipped.folder / 'epoch_2.pth', '--skip-bad', '--dump',
        dump, *bad_val.options
    ], tmp_path)
    assert process.wait() == 0, process.log
    log = process.log
    assert re.search('left4.mp4 is not a video, or is .*: left out.', log)
    assert 'right4.mp4 does not exist: left out.' in log
    assert ('2 of 3 clips are left out, since they cannot be read: the '
            'accuracies are partial.') in log
    assert re.search(r'Epoch\(test\) \[1/1\] .*partial_acc/top1', log)
    assert ' acc/top1' not in log

    code = run_tool('ensemble', dump)
    assert code == (f'ensemble.py: error: {dump} lacks 2 clips that could not '
                    'be read: repair them, and test without --skip-bad.')


def test_check_data_finds_all_bad_videos(run_tool, bad_val, clips, tmp_path,
                                         capfd):
    videos = bad_val.root / 'videos'
    # A truncated Matroska file is still a video.
    cut(write(videos / 'left3.mp4', 'mp4v', clips['left3']))
    lengthen_sound(write(videos / 'right3.mp4', 'mp4v', clips['right3']))
    code = run_tool('check_data', bad_val.config, '--workers', '2',
                    *bad_val.options)
    assert code == 1
    expected = {
        name: re.escape(reason)
        for name, (_, reason) in DAMAGES.items()
    }
    expected |= {
        'left3.mp4': r'ends after \d+ of \d+ bytes',
        'left4.mp4': 'is not a video, or is damaged: ',
        'right4.mp4': 'does not exist'
    }
    lines = (tmp_path / 'bad_clips.txt').read_text().splitlines()
    found = dict(line.split('\t') for line in lines)
    assert found.keys() == {str(videos / name) for name in expected}
    for name, reason in expected.items():
        assert re.match(reason, found[str(videos / name)])
    out, err = capfd.readouterr()
    assert '9 of 11 clips are bad: see bad_clips.txt.' in out
    assert '8/8' in err and '3/3' in err  # the progress bars


def test_check_data_survives_pipes_and_cut_motion_jpeg(run_tool, bad_val,
                                                       clips, tmp_path):
    """The second crashed an earlier decoder; its frames are whole images."""
    videos = bad_val.root / 'videos'
    os.mkfifo(videos / 'pipe.mp4')  # nobody writes to it
    cut(write(videos / 'cut.mp4', 'MJPG', clips['right4']))
    (bad_val.root / 'val.txt').write_text('pipe.mp4 0\ncut.mp4 0\n')
    code = run_tool('check_data', bad_val.config, '--split', 'val', '--out',
                    'bad.txt', *bad_val.options)
    assert code == 1
    assert (tmp_path /
            'bad.txt').read_text() == f'{videos}/pipe.mp4\tis not a file\n'


def test_check_data_finds_holes_between_frames(run_tool, repo, sthv1_root,
                                               tmp_path, capsys):
    shutil.copytree(sthv1_root, tmp_path / 'sthv1')
    frames = tmp_path / 'sthv1/rawframes'
    os.remove(frames / '3/00007.jpg')
    cut(frames / '4/00008.jpg')
    shutil.rmtree(frames / '5')
    args = [
        repo / 'configs/selfy_tsm_r50_sthv1.py', '--split', 'train',
        '--workers', '2', '--cfg-options',
        f'train_dataloader.dataset.data_root={tmp_path / "sthv1"}'
    ]
    assert run_tool('check_data', *args) == 1
    assert (tmp_path / 'bad_clips.txt').read_text() == (
        f'{frames}/3\thas no 00007.jpg\n'
        f'{frames}/4\tcannot be decoded at frame 8\n'
        f'{frames}/5\tdoes not exist\n')
    assert '3 of 8 clips are bad' in capsys.readouterr().out


@pytest.fixture
def load_config(repo, motion_options, monkeypatch):
    """Load the config of the miniature motion data."""
    init_default_scope('mmaction')
    options = dict(option.split('=', 1) for option in motion_options[1:])

    def load():
        cfg = launch.load_config(
            str(repo / 'configs/selfy_tsm_r18_motion.py'), {})
        cfg.merge_from_dict({
            key: value
            for key, value in options.items()
            if 'data_root' in key or 'classes' in key
        })
        return cfg

    return load


def test_mistakes_in_a_pipeline_are_not_bad_clips(load_config):
    cfg = load_config().train_dataloader.dataset
    cfg.pipeline[0] = dict(type='DecordInit', io_backend='floppy')
    dataset = DATASETS.build(cfg)
    catch_bad_clips(dataset, pytest.fail)
    with pytest.raises(ValueError, match='floppy'):
        dataset[0]


def test_clips_of_an_epoch_do_not_depend_on_who_reads_them(load_config):
    """Random frames, and the clip that replaces a bad one."""

    def read(workers):
        cfg = load_config().train_dataloader
        cfg.update(num_workers=workers, persistent_workers=bool(workers))
        loader = Runner.build_dataloader(cfg, seed=1)
        dataset = loader.dataset
        bad = dataset.get_data_info(3)['filename']
        catch_bad_clips(dataset, lambda name, reason: None)
        sample_frames = dataset.pipeline.transforms[1]
        dataset.pipeline.transforms.insert(
            1, lambda results: None if results['filename'] == bad else results)
        assert sample_frames.num_clips == 8
        dataset.pipeline = SeededPipeline(dataset.pipeline, seed=1)
        epochs = []
        for epoch in 0, 1:
            dataset.pipeline.epoch.fill_(epoch)
            epochs.append(
                torch.stack(
                    [clip for batch in loader for clip in batch['inputs']]))
        return epochs

    alone, two = read(0), read(2)
    for a, b in zip(alone, two, strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(*alone)
