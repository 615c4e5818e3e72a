"""docs/anywhere.md: its examples run, and its table holds.

Its networks are tested where their packages are installed; where MMAction2 is
not, by ``pytest --noconftest tests/test_anywhere.py -k "row or first"``.
"""
import copy
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from selfy_mmaction import insert_selfy

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / 'docs/anywhere.md').read_text()
FIRST, ALONE, LOOP, EXPORT = re.findall(r'^```python\n(.+?)^```', TEXT,
                                        re.DOTALL | re.MULTILINE)
# network, package, arguments, pixels and frames of a cell
ROWS = re.findall(
    r'^\| (.+) of (\w+) \| `(.+)` \| .+ \| (\d+) pixels, (\d) frames? \|$',
    TEXT, re.MULTILINE)
SMALL = dict(hidden_size=48, num_hidden_layers=7, num_attention_heads=2)
PREDICTOR = {f'pred_{key}': value for key, value in SMALL.items()}
# Random networks, small but for the grids that they see.
NETWORKS = {
    ('ResNet', 'timm'):
    lambda m: m.create_model('resnet18'),
    ('ConvNeXt', 'timm'):
    lambda m: m.create_model('convnext_atto'),
    ('Swin', 'timm'):
    lambda m: m.create_model('swin_tiny_patch4_window7_224'),
    ('ViT', 'timm'):
    lambda m: m.create_model('vit_tiny_patch16_224'),
    ('ResNet', 'torchvision'):
    lambda m: m.models.resnet18(),
    ('ConvNeXt', 'torchvision'):
    lambda m: m.models.convnext_tiny(),
    ('Swin', 'torchvision'):
    lambda m: m.models.swin_t(),
    ('ViT', 'torchvision'):
    lambda m: m.models.VisionTransformer(224, 16, 7, 2, 48, 96),
    ('DINOv2', 'transformers'):
    lambda m: m.Dinov2Model(m.Dinov2Config(**SMALL)),
    ('VideoMAE', 'transformers'):
    lambda m: m.VideoMAEModel(m.VideoMAEConfig(**SMALL)),
    ('ViViT', 'transformers'):
    lambda m: m.VivitModel(m.VivitConfig(**SMALL)),
    ('TimeSformer', 'transformers'):
    lambda m: m.TimesformerModel(m.TimesformerConfig(**SMALL)),
    ('V-JEPA 2', 'transformers'):
    lambda m: m.VJEPA2Model(m.VJEPA2Config(**SMALL, **PREDICTOR)),
}
OF_CLIPS = {'VideoMAE', 'ViViT', 'TimeSformer', 'V-JEPA 2'}


def test_the_table_is_of_all_networks():
    assert [(name, package) for name, package, *_ in ROWS] == [*NETWORKS]


@pytest.mark.parametrize('row', ROWS, ids=' of '.join)
def test_row(row):
    """Until it is trained, the network is the same; the block sees the right
    frame and place."""
    name, package, arguments, pixels, frames = row
    module = pytest.importorskip(package, exc_type=ImportError)
    torch.manual_seed(0)
    plain = NETWORKS[name, package](module).eval()
    for parameter in plain.parameters():
        if not parameter.any():  # such as a head that is not trained yet
            torch.nn.init.normal_(parameter)
    net = copy.deepcopy(plain)
    eval(f'insert_selfy(net, {arguments}, mid_channels=8)',
         dict(insert_selfy=insert_selfy, net=net))
    block = net.get_submodule(arguments.split("'")[1]).selfy
    frames, side = int(frames), 256 if name == 'V-JEPA 2' else 224
    x = torch.randn(block.num_segments * frames, 3, side, side)
    changed, patch = x.clone(), int(pixels) // 2
    changed[3 * frames, :, 2 * patch:3 * patch, 5 * patch:6 * patch] += 3
    seen = []
    block.transformation.register_forward_hook(lambda *args: seen.append(args))

    def run(network, x):
        out = network(x[None] if name in OF_CLIPS else x)
        return out if isinstance(out, torch.Tensor) else out[0]

    with torch.no_grad():
        before = run(plain, x)
        assert torch.equal(run(net, x), before)
        torch.nn.init.ones_(block.residual_add.bn.weight)
        assert not torch.equal(run(net, x), before)
        run(net, changed)
    (_, (maps, ), motion), *_, (_, (others, ), _) = seen
    assert side / motion.shape[3] == int(pixels)
    assert len(x) / len(maps) == frames
    # [N * T, C, h, w] => [N * T, h, w]
    place = (others - maps).abs().sum(1)
    t, i, j = torch.unravel_index(place.argmax(), place.shape)
    assert t == 3
    # Attention without a shortcut has it in all places.
    if name != 'TimeSformer':
        assert abs(i - 2) <= 1 and abs(j - 5) <= 1


def test_first_lines():
    pytest.importorskip('timm', exc_type=ImportError)
    names = {}
    exec(FIRST, names)
    net = names['net']
    exec(ALONE, names)
    assert net(torch.randn(8, 3, 64, 64)).shape == (8, 174)
    trained = {key for key, p in net.named_parameters() if p.requires_grad}
    assert trained == {
        f'layer2.selfy.{key}'
        for key, _ in net.layer2.selfy.named_parameters()
    }


NETWORK = """
import torch
from torch import nn
from selfy_mmaction import insert_selfy

net = nn.Sequential(
    nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU(),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
insert_selfy(net, '2', num_segments=8, mid_channels=8)
torch.save(net, 'start.pth')
"""


def test_a_folder_of_clips_is_trained_on_and_exported(video_dir, tmp_path):
    runtime = pytest.importorskip('onnxruntime')
    for side in 'left', 'right':
        (tmp_path / 'clips' / side).mkdir(parents=True)
        for path in video_dir.glob(f'{side}*.mp4'):
            (tmp_path / 'clips' / side / path.name).symlink_to(path)
    loop = re.sub(
        '^epochs, .*', 'epochs, T, size = 2, 8, 32', LOOP, flags=re.M)
    script = NETWORK + loop + EXPORT.replace('224', '32')
    done = subprocess.run([sys.executable, '-c', script],
                          cwd=tmp_path,
                          capture_output=True,
                          text=True,
                          env=os.environ | dict(PYTHONPATH=str(ROOT)))
    assert done.returncode == 0, done.stderr
    assert re.search(r'^epoch 2: loss 0\.\d+$', done.stdout, re.M)
    net = torch.load(tmp_path / 'start.pth', weights_only=False)
    start = copy.deepcopy(net.state_dict())
    net.load_state_dict(torch.load(tmp_path / 'net.pth'))
    assert not torch.equal(net[2].selfy.residual_add.bn.weight,
                           start['2.selfy.residual_add.bn.weight'])
    session = runtime.InferenceSession(tmp_path / 'net.onnx')
    for clips in 1, 3:
        frames = torch.randn(8 * clips, 3, 32, 32)
        with torch.no_grad():
            expected = net.eval()(frames)
        scores, = session.run(None,
                              {session.get_inputs()[0].name: frames.numpy()})
        torch.testing.assert_close(torch.from_numpy(scores), expected)
