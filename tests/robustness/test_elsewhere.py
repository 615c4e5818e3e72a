"""Files that lead elsewhere: playlists, and names that steer a terminal."""
import contextlib
import copy
import http.server
import shutil
import threading
from types import SimpleNamespace

import pytest
import torch
from processes import ToolProcess
from releases.files_of_release import count_video_frames

from selfy_mmaction.apis.video import Video

HLS = ('#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n'
       '#EXT-X-ENDLIST\n')
CONCAT = "ffconcat version 1.0\nfile '{}'\n"


@pytest.fixture
def server():
    """A server on this machine, and the URLs requested from it."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):

        def do_GET(self):
            asked.append(self.path)
            with contextlib.suppress(OSError):
                self.send_error(404)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as http_:
        threading.Thread(target=http_.serve_forever, daemon=True).start()
        yield SimpleNamespace(
            address=f'http://127.0.0.1:{http_.server_port}', asked=asked)
        http_.shutdown()


@pytest.fixture
def motion(published, motion_root, motion_options, server, tmp_path):
    """The miniature motion data with playlists among the clips."""
    root = tmp_path / 'data'
    shutil.copytree(motion_root, root)
    videos = root / 'videos'
    playlists = {
        'right0.mp4': HLS.format(f'{server.address}/x.ts'),
        'right1.mp4': CONCAT.format('left0.mp4'),
        'right2.mp4': HLS.format('left0.mp4')
    }
    for name, text in playlists.items():
        (videos / name).write_text(text)
    options = [
        option.replace(str(motion_root), str(root))
        for option in motion_options
    ]
    config, checkpoint = published
    return SimpleNamespace(
        config=config,
        checkpoint=checkpoint,
        videos=videos,
        playlists=[str(videos / name) for name in playlists],
        options=['--cfg-options', *options])


def test_predicting_opens_no_playlist(motion, run_tool, server, capfd):
    for playlist in motion.playlists:
        for args in [], ['--window', '1']:
            code = run_tool('predict', playlist, motion.config,
                            motion.checkpoint, '--device', 'cpu', *args)
            assert code == 1
            out, err = capfd.readouterr()
            assert f'error: {playlist} is not a video, or is damaged: ' in err
            assert '%' not in out
    assert not server.asked


def test_no_reader_opens_a_playlist(motion, server):
    for playlist in motion.playlists:
        assert 'is not a video' in count_video_frames(playlist)
        with pytest.raises(ValueError, match='is not a video'):
            Video(playlist)
    assert not server.asked


def test_training_skips_playlists(motion, server, tmp_path):
    """With any config: that of another project has none of our hooks."""
    config = tmp_path / 'other.py'
    config.write_text(f'_base_ = "{motion.config}"\n'
                      'default_hooks = dict(_delete_=True)\n')
    options = [x for x in motion.options if 'default_hooks' not in x]
    process = ToolProcess('train', [
        config, '--work-dir', 'run', '--no-validate', *options,
        'train_cfg.max_epochs=1'
    ], tmp_path)
    assert process.wait() == 1
    end = process.log.splitlines()[-1]
    assert 'of 8 clips cannot be read' in end and 'is not a video' in end
    assert not server.asked


def test_check_data_lists_playlists(motion, run_tool, server, tmp_path):
    assert run_tool('check_data', motion.config, '--workers', '1', '--split',
                    'train', *motion.options) == 1
    lines = (tmp_path / 'bad_clips.txt').read_text().splitlines()
    assert [line.split('\t')[0] for line in lines] == motion.playlists
    assert all('\tis not a video, ' in line for line in lines)
    assert not server.asked


ESCAPE = '\x1b[2J\x1b]0;title\x07\rforged\u2028\udcff'


def test_names_do_not_steer_the_terminal(motion, run_tool, tmp_path, capfd):
    saved = torch.load(motion.checkpoint)
    forged = copy.deepcopy(saved)
    forged['meta']['dataset_meta']['classes'] = [f'{ESCAPE}\n'] * 8
    torch.save(forged, tmp_path / 'classes.pth')
    saved['state_dict'][f'{ESCAPE}\n'] = torch.ones(1)
    torch.save(saved, tmp_path / 'keys.pth')
    video = motion.videos / 'left0.mp4'
    named = shutil.copy(video, tmp_path / f'{ESCAPE[:-1]}.mp4')
    lost = motion.videos / f'{ESCAPE[:-1]}.mp4'
    for checkpoint, clip, code in (('classes.pth', named, 0),
                                   ('keys.pth', video, 1), ('classes.pth',
                                                            lost, 1)):
        ended = run_tool('predict', clip, motion.config, tmp_path / checkpoint,
                         '--device', 'cpu')
        out, err = capfd.readouterr()
        said = f'{ended}\n{out}{err}'
        assert bool(ended) == bool(code)
        assert r'\x1b[2J\x1b]0;title\x07' in said
        assert said.replace('\n', '').isprintable()
        assert len(out.splitlines()) == (0 if code else 6)
