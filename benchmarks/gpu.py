"""On a GPU, within ten minutes: is all of it right there, and how fast?

Tests, a training held to the same on the CPU, and tables of the operator, of
a ResNet-50 and, where MMAction2 is installed, of SELFYNet. The rest needs
PyTorch alone; the tests need pytest.
"""
import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import op
import torch
from measure import HEAD, check_parity, compare_modules, describe_machine
from torch import Tensor, nn

from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.registry import HAS_MMACTION

ROOT = Path(__file__).resolve().parent.parent
TYPES = torch.float32, torch.bfloat16, torch.float16
SHAPES = [(8, 8, 128, 14, 14), (1, 8, 128, 32, 32), (2, 4, 512, 16, 16)]
FRAMES = 8


def conv(inner: int, outer: int, kernel: int, stride: int = 1) -> nn.Module:
    """A convolution and its batch norm."""
    return nn.Sequential(
        nn.Conv2d(inner, outer, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outer))


class Bottleneck(nn.Module):
    """ResNet's block of three convolutions."""

    def __init__(self, inner: int, width: int, stride: int):
        super().__init__()
        self.convs = nn.Sequential(
            conv(inner, width, 1), nn.ReLU(), conv(width, width, 3, stride),
            nn.ReLU(), conv(width, 4 * width, 1))
        self.shortcut = nn.Identity()
        if stride > 1 or inner != 4 * width:
            self.shortcut = conv(inner, 4 * width, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return (self.convs(x) + self.shortcut(x)).relu()


def resnet(depths: Sequence[int], width: int, selfy: bool) -> nn.Module:
    """A ResNet of frames, perhaps with the block after its second stage."""
    layers = [conv(3, width, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    inner = width
    for i, depth in enumerate(depths):
        for j in range(depth):
            stride = 2 if i and not j else 1
            layers.append(Bottleneck(inner, width * 2**i, stride))
            inner = 4 * width * 2**i
        if selfy and i == 1:
            layers.append(SELFYBlock(inner, FRAMES))
    # [N * T, C, h, w] => [N * T, 10]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(inner, 10))


def run_tests() -> None:
    """Those that need a GPU, and those of the block on the device."""
    subprocess.run([
        sys.executable, '-m', 'pytest', '-q', '--noconftest', '-p',
        'device_fixture', 'tests/ops/test_stss_cuda.py',
        'tests/models/test_selfy_block.py', '-k', 'cuda or autocast'
    ],
                   cwd=ROOT,
                   env=dict(
                       os.environ, PYTHONPATH=f'{ROOT}/tests/helpers:{ROOT}'))


def check_training(device: torch.device, steps: int) -> None:
    """Print the losses of a small network, held to those on the CPU."""
    losses = []
    for place in device, torch.device('cpu'):
        torch.manual_seed(0)
        network = resnet((1, 1), 16, True).to(place)
        optimizer = torch.optim.SGD(network.parameters(), 0.01, 0.9)
        for _ in range(steps):
            labels = torch.randint(10, (2, )).repeat_interleave(FRAMES)
            frames = torch.randn(2 * FRAMES, 3, 64, 64)
            frames += labels[:, None, None, None] / 10
            loss = nn.functional.cross_entropy(
                network(frames.to(place)), labels.to(place))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    ours, theirs = torch.tensor(losses).view(2, steps)
    print(f'losses after 1, 10 and {steps} steps: {ours[[0, 9, -1]].tolist()}'
          f', on the CPU {theirs[[0, 9, -1]].tolist()}')
    check_parity(ours[:10], theirs[:10], 'the loss of ten steps', 0, 1e-3)


def benchmark_resnet(device: torch.device, rounds: int, clips: int,
                     size: int) -> list[list[str]]:
    """ResNet-50 without the block and with it, in autocast."""
    frames = torch.randn(clips * FRAMES, 3, size, size, device=device)
    frames = frames.to(memory_format=torch.channels_last)
    networks = {
        name: (resnet((3, 4, 6, 3), 64,
                      selfy).to(device,
                                memory_format=torch.channels_last), frames)
        for name, selfy in (('plain', False), ('with the block', True))
    }
    with torch.autocast(device.type, torch.bfloat16):
        return compare_modules(
            f'ResNet-50, {clips} clips of {FRAMES} x {size} x {size}',
            networks, device, rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda')
    parser.add_argument(
        '--small', action='store_true', help='small sizes, to try the script')
    parser.add_argument('--no-tests', action='store_true')
    args = parser.parse_args()
    device, start = torch.device(args.device), time.time()
    if not args.no_tests:
        run_tests()
    check_training(device, 10 if args.small else 100)
    print(f'| {" | ".join(HEAD)} |\n|{" --- |" * len(HEAD)}')
    shapes = [(1, 2, 8, 6, 7)] if args.small else SHAPES
    rounds, clips, size = (1, 1, 32) if args.small else (5, 8, 224)
    parts = [
        lambda: op.benchmark(device, rounds, shapes, TYPES),
        lambda: benchmark_resnet(device, rounds, clips, size)
    ]
    if HAS_MMACTION and not args.small:
        import network
        parts.append(lambda: network.benchmark(device, rounds))
    for part in parts:
        for row in part():
            print(f'| {" | ".join(row)} |', flush=True)
    print(f'\n{describe_machine(device)}; {time.time() - start:.0f} s')


if __name__ == '__main__':
    main()
