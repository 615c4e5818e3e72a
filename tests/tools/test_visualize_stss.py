"""tools/visualize_stss.py with the published network."""
import re
import sys

import cv2
import numpy as np
import pytest
import torch
from mmaction.registry import MODELS
from PIL import Image

from selfy_mmaction.apis.inference import VideoPredictor
from selfy_mmaction.apis.similarity import SelfSimilarity, enlarge, observe
from selfy_mmaction.datasets.pipelines import frame_size
from selfy_mmaction.engine import launch
from selfy_mmaction.ops import stss
from selfy_mmaction.visualization.flow import flow_to_color
from selfy_mmaction.visualization.pictures import draw, to_image
from selfy_mmaction.visualization.sheet import Sheet

NAME = 'selfy_tsm_r18_motion'


@pytest.fixture(scope='module')
def network(repo):
    """Config and checkpoint of the published network."""
    checkpoint, = (repo / 'checkpoints').glob(f'{NAME}_2*.pth')
    return str(repo / f'configs/{NAME}.py'), str(checkpoint)


@pytest.fixture(scope='module')
def predictor(network):
    """It, on frames of 96 rows and 160 columns."""
    config, checkpoint = network
    # width x height
    cfg = launch.load_config(
        config, {'test_dataloader.dataset.pipeline.3.scale': (160, 96)})
    return VideoPredictor(cfg, checkpoint, 'cpu')


@pytest.fixture(scope='module')
def clip(repo):
    return str(repo / 'demo/camera_pans_right.webm')


@pytest.fixture(scope='module')
def seen(predictor, clip):
    return observe(predictor, clip)


@pytest.fixture
def run(load_tool, network, clip, capsys, monkeypatch, tmp_path):
    """Run the tool on the clip and return its error and what it prints."""
    tool = load_tool('visualize_stss')
    monkeypatch.chdir(tmp_path)

    def run(*args, video=clip, network=network):
        argv = [tool.__file__, video, *network, '--device', 'cpu', *args]
        monkeypatch.setattr(sys, 'argv', list(map(str, argv)))
        error = None
        try:
            tool.main()
        except SystemExit as exit:
            error = exit.code
        return error, capsys.readouterr().out

    return run


def test_keeps_what_the_block_sees_and_adds(predictor, clip, seen):
    assert seen.frames.shape == (8, 96, 160, 3) and seen.stride == 16
    backbone = predictor.model.backbone
    block = backbone.selfy['layer2']
    x = torch.from_numpy(seen.frames).permute(0, 3, 1, 2).float()
    processor = predictor.model.data_preprocessor
    with torch.no_grad():
        x = backbone._stem((x - processor.mean) / processor.std)
        x = backbone.layer2(backbone.layer1(x))
        features = block.transformation.downsample(x)[None]
        torch.testing.assert_close(seen.similarities,
                                   stss(features, (5, 9, 9))[0])
        added = (block(x) - x).square().sum(1)
    # [8, 12, 20] => [8, 6, 10]
    added = added.view(8, 6, 2, 10, 2).sum((2, 4)).sqrt()
    torch.testing.assert_close(seen.energy, added)
    best = predictor(clip)
    assert [p['label'] for p in seen.predictions] == [p['label'] for p in best]


def test_cells_lie_where_the_features_look(predictor, seen):
    """Of a position, the pixels that matter lie around stride * position."""
    backbone = predictor.model.backbone
    torch.manual_seed(0)
    x = torch.randn(8, 3, 96, 160).requires_grad_()
    features = backbone.selfy['layer2'].transformation.downsample(
        backbone.layer2(backbone.layer1(backbone._stem(x))))
    features[:, :, 3, 5].sum().backward()
    weight = x.grad.square().sum((0, 1))
    for axis, expected in (1, 3 * seen.stride), (0, 5 * seen.stride):
        profile = weight.sum(axis)
        centre = (profile * torch.arange(len(profile))).sum() / profile.sum()
        # Learned filters are not symmetric. Half a cell is 8 pixels.
        assert abs(centre - expected) < 6


def test_displacements_are_the_motion(seen):
    """The camera pans right: the scene moves left."""
    before, after = (
        np.nanmedian(seen.displacements(4)[l, ..., 0]) for l in (0, 4))
    assert after < -8 < 8 < before
    assert np.isnan(seen.displacements(0)[:2]).all()
    assert np.isfinite(seen.displacements(0)[2:]).all()


def test_strongest_positions_are_peaks_of_the_motion(seen):
    positions = seen.strongest(2)
    energies = [seen.energy[position] for position in positions]
    assert energies == sorted(energies, reverse=True)
    (t, y, x), other = positions
    assert np.abs(np.subtract(other, (t, y, x))).max() > 1
    # all neighbours are in the clip
    assert 2 <= t < 6 and 0 < y < 5 and 0 < x < 9
    # The camera pans right, all the time.
    assert (np.diff(seen.displacements(t)[:, y, x, 0]) < 0).all()


def test_the_strongest_of_a_still_clip_is_inside(seen):
    """Nothing moves, and most is added at a corner."""
    still = torch.zeros_like(seen.similarities)
    still[..., 2:3, 4, 4] = 1
    still[1:, ..., 1, 4, 4] = still[:-1, ..., 3, 4, 4] = 1
    energy = torch.ones_like(seen.energy)
    energy[0, 0, 0], energy[3, 2, 4] = 9, 2
    assert SelfSimilarity(seen.frames, still, seen.offsets, energy,
                          []).strongest(1) == [(3, 2, 4)]
    # no inside, and nothing added
    tiny = SelfSimilarity(seen.frames, still[:2, :2, :2], seen.offsets,
                          energy[:2, :2, :2], [])
    assert tiny.strongest(1) == [(0, 0, 0)]
    energy.zero_()
    assert tiny.strongest(1) == [(1, 1, 1)]


def test_drawing_shows_the_query(seen):
    here, there = (
        to_image(draw(seen, [position], 'title')).astype(int)
        for position in [(3, 2, 2), (3, 2, 6)])
    assert here.shape == there.shape
    height = here.shape[0]
    # The rows of the query and the clip differ, the header does not.
    assert not np.abs(here - there)[:height // 12].any()
    assert np.abs(here - there)[height // 4:].any()


def test_a_phone_gets_a_narrow_picture(seen):
    wide, narrow = (
        draw(seen, [(3, 2, 2)], 'title', narrow) for narrow in (False, True))
    assert narrow.get_figwidth() <= 4 < wide.get_figwidth()
    # the frames, no smaller
    sides = [[
        ax.get_window_extent().width / figure.dpi for part in figure.subfigs
        for ax in part.axes[:5]
    ] for figure in (wide, narrow) if to_image(figure).size]
    assert len(sides[0]) == len(sides[1])
    assert min(sides[1]) > 0.9 * min(sides[0])


@pytest.mark.parametrize('query', [(0, 0, 0), (3, 2, 4), (7, 5, 9)])
def test_a_place_is_found_where_the_sheet_marks_it(seen, query):
    sheet = Sheet(seen)
    here, other = (
        sheet.draw(position).astype(int) for position in (query, (5, 3, 3)))
    changed = np.abs(here - other).any(-1)
    # The other one is in the third column.
    changed[:, 2 * here.shape[1] // 3:] = False
    rows, columns = np.nonzero(changed)
    assert sheet.position_at(columns.mean(), rows.mean()) == query


@pytest.mark.parametrize('offsets, inside', [((1, ), range(7)),
                                             ((0, 1, 2, 3), range(5)),
                                             ((-3, 3), range(3, 5)),
                                             ((-2, -1), range(2, 8))])
def test_any_offsets_are_followed(seen, offsets, inside):
    """A scene that moves by a cell per frame, to the right."""
    T, h, w, _, U, V = seen.similarities.shape
    similarities = torch.zeros(T, h, w, len(offsets), U, V)
    for l, offset in enumerate(offsets):
        similarities[..., l, U // 2, V // 2 + offset] = 1
        for t in range(T):
            similarities[t, ..., l, :, :] *= 0 <= t + offset < T
    # most outside of the frames, then where neighbours are missing
    energy = torch.ones(T, h, w)
    energy[:, 0, 0] = 9
    energy[[t for t in range(T) if t not in inside], 2, 2] = 8
    energy[inside[0], 2, 4] = 2
    moving = SelfSimilarity(seen.frames, similarities, offsets, energy, [])
    assert moving.strongest(1) == [(inside[0], 2, 4)]
    titles = [
        ax.get_title() for part in draw(moving, [(4, 2, 4)], '').subfigs[1:3]
        for ax in part.axes[:len(offsets)]
    ]
    assert titles[len(offsets):] == [f'to frame {4 + o}' for o in offsets]
    for title, offset in zip(titles, offsets, strict=False):
        assert title.startswith(f'frame {4 + offset}: ')
        assert ('the query' in title) == (offset == 0)
        assert ('before' in title) == (offset < 0)


@pytest.mark.parametrize('name, size, enlarged', [
    (NAME, (64, 64), (192, 192)),
    ('selfy_tsm_r18_motion_bench', (24, 128), (36, 192)),
    ('selfy_tsm_r50_sthv1', (224, 224), (224, 224)),
])
def test_small_frames_are_enlarged(repo, name, size, enlarged):
    cfg = launch.load_config(str(repo / f'configs/{name}.py'), {})
    larger = enlarge(cfg, 192)
    assert (larger is cfg) == (size == enlarged)
    assert enlarge(larger, 192) is larger
    sizes = [
        frame_size(x.test_dataloader.dataset.pipeline) for x in (cfg, larger)
    ]
    assert sizes == [size, enlarged]


def test_writes_pictures_pages_and_videos(run, tmp_path):
    error, out = run('--strongest', '2', '-o', 'sub/a.png')
    assert not error and 'Wrote sub/a.png.' in out
    assert len(
        re.findall(r'frame \d, row \d, column \d: the block adds', out)) == 2
    with Image.open(tmp_path / 'sub/a.png') as picture:
        assert min(picture.size) > 500
    error, _ = run('--position', '3', '1', '2', '-o', 'b.html')
    assert not error
    page = (tmp_path / 'b.html').read_text()
    assert page.count('data:image/webp;base64,') == 8
    assert 'max="7" value="3"' in page
    # nothing from elsewhere
    assert '//' not in re.sub(r'"data:[^"]*"', '', page)
    error, out = run('-o', 'c\x1b[2J.mp4')  # would clear the terminal
    assert not error and r'Wrote c\x1b[2J.mp4.' in out
    video = cv2.VideoCapture(str(tmp_path / 'c\x1b[2J.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 8


def test_names_what_is_wrong(run, repo, tmp_path):
    for args, words in (
        (['-o', 'a.jpg'], 'a.jpg cannot be written: give it the ending .png'),
        (['--strongest', '0'], '--strongest 0: give 1 or more'),
        (['--position', '8', '0', '0'],
         r'position \(8, 0, 0\) is outside the map: give a frame from 0 to 7,'
         ' a row from 0 to 3 and a column from 0 to 3'),
        (['--position', '0', '0', '-1'], 'outside the map'),
        (['--layer', 'layer1'], "follows 'layer1': give one of layer2"),
        (['--view', '1'], 'view 1 of .* does not exist'),
    ):
        assert re.search(words, run(*args)[0]), args
    error, _ = run(video='nothing.mp4')
    assert 'video nothing.mp4 does not exist' in error
    # a network without a block
    moss = tmp_path / 'moss.py'
    moss.write_text(f'_base_ = "{repo}/configs/{NAME}.py"\n'
                    'model = dict(backbone=dict(selfy=dict('
                    "_delete_=True, type='MOSSBlock', mid_channels=8)))")
    for config in str(repo / 'configs/tsn_r18_motion.py'), str(moss):
        cfg = launch.load_config(config, {})
        plain = tmp_path / 'plain.pth'
        torch.save({'state_dict': MODELS.build(cfg.model).state_dict()}, plain)
        error, _ = run(network=(config, plain))
        assert 'has no SELFY block to look into' in error


def test_colors_of_displacements():
    directions = np.array([[1, 0], [0, 1], [-1, 0], [0, -1]])
    colors = flow_to_color(directions).astype(int)
    # four directions, four colours, however long the longest is
    assert np.abs(colors[:, None] -
                  colors).sum(-1)[~np.eye(4, dtype=bool)].min() > 200
    assert (flow_to_color(7 * directions) == colors).all()
    # with a scale, a half is paler, and more than the whole looks the same
    lengths = np.outer([0, 0.5, 1, 2], directions[1]).reshape(2, 2, 2)
    (still, half), (whole, more) = flow_to_color(lengths, max_length=1)
    assert (still == 255).all()
    assert half.min() > whole.min()
    assert (whole == more).all() and (whole == colors[1]).all()
    assert (flow_to_color([[np.nan, 0]]) == 0).all()
