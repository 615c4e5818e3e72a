"""What the block of the published network computes on a video."""
import numpy as np
import pytest
import torch
from app import enlarge

from selfy_mmaction.apis.similarity import SelfSimilarity
from selfy_mmaction.datasets.recipes import frame_size
from selfy_mmaction.engine import launch
from selfy_mmaction.ops import stss


def test_keeps_what_the_block_sees_and_adds(observer, pan, seen):
    assert seen.frames.shape == (8, 96, 160, 3) and seen.stride == 16
    backbone = observer.model.backbone
    block = backbone.selfy['layer2']
    x = torch.from_numpy(seen.frames).permute(0, 3, 1, 2).float()
    processor = observer.model.data_preprocessor
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
    best = observer(pan)
    assert [p['label'] for p in seen.predictions] == [p['label'] for p in best]


def test_cells_lie_where_the_features_look(observer, seen):
    """Of a position, the pixels that matter lie around stride * position."""
    backbone = observer.model.backbone
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


@pytest.mark.parametrize('name, size, enlarged', [
    ('selfy_tsm_r18_motion', (64, 64), (192, 192)),
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


def test_frames_of_no_fixed_size_are_left(repo):
    cfg = launch.load_config(str(repo / 'configs/selfy_tsm_r18_motion.py'), {})
    for step in cfg.test_dataloader.dataset.pipeline:
        if 'keep_ratio' in step:
            step.keep_ratio = True
    assert enlarge(cfg, 192) is cfg
