"""The Triton kernels of stss: in Triton's interpreter, and compiled.

Triton decides at its import whether it interprets, so the module runs itself
once more for that.
"""
import os
import random
import re
import subprocess
import sys

import pytest
import torch

from selfy_mmaction.ops import stss_torch

triton = pytest.importorskip('triton')
INTERPRETED = os.environ.get('TRITON_INTERPRET') == '1'
interpreted = pytest.mark.skipif(
    not INTERPRETED, reason='run by test_in_the_interpreter')


@pytest.mark.skipif(INTERPRETED, reason='this is the run in the interpreter')
def test_in_the_interpreter():
    subprocess.run([
        sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider',
        __file__
    ],
                   check=True,
                   env=dict(os.environ, TRITON_INTERPRET='1'))


def random_case(seed):
    """Frame ends, offsets, windows and channels of every kind."""
    rng = random.Random(seed)
    shape = (rng.randint(1, 2), rng.randint(1, 4), rng.randint(1, 3),
             rng.choice([1, 5, 16, 19]), rng.choice([1, 3, 16, 40]))
    offsets = rng.sample(range(-4, 5), rng.randint(1, 3))
    U, V = rng.choice([1, 3, 5]), rng.choice([1, 3, 7, 19])
    return shape, (offsets, U, V, seed % 2 == 0)


def inputs(shape, args, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(shape, generator=generator).to(dtype)
    (N, T, H, W, _), (offsets, U, V, _) = shape, args
    grad = torch.randn((N, T, len(offsets), H, W, U, V), generator=generator)
    return q, grad.to(dtype)


@interpreted
@pytest.mark.parametrize('seed', range(10))
def test_equals_pytorch(seed):
    """Not bfloat16: the interpreter multiplies its bits as integers."""
    from selfy_mmaction.ops import stss_triton
    dtype, tolerance = ((torch.float16, 5e-3) if seed % 3 == 0 else
                        (torch.float32, 1e-5))
    shape, args = random_case(seed)
    q, grad = inputs(shape, args, dtype)
    wide = q.double(), grad.double()
    for actual, expected in [
        (stss_triton.products(q, *args), stss_torch.products(wide[0], *args)),
        (stss_triton.products_backward(grad, q, *args),
         stss_torch.products_backward(wide[1], wide[0], *args))
    ]:
        assert actual.dtype == dtype
        torch.testing.assert_close(
            actual.double(),
            expected,
            rtol=tolerance,
            atol=tolerance * max(expected.abs().max().item(), 1))


@pytest.mark.skipif(INTERPRETED, reason='the same')
def test_wide_windows_are_for_pytorch():
    from selfy_mmaction.ops import stss_triton
    for dtype, widest in (torch.float32, 49), (torch.float16, 113):
        q = torch.empty(1, dtype=dtype)
        assert stss_triton.supports(q, widest)
        assert not stss_triton.supports(q, widest + 2)
    assert not stss_triton.supports(torch.empty(1, dtype=torch.float64), 3)


@pytest.mark.skipif(INTERPRETED, reason='the same')
def test_precision_follows_every_switch_of_pytorch(monkeypatch):
    from selfy_mmaction.ops.stss_triton import precision
    matmul = torch.backends.cuda.matmul
    before = torch.get_float32_matmul_precision()
    try:
        for name, expected in ('high', 'tf32'), ('highest', 'ieee'):
            torch.set_float32_matmul_precision(name)
            assert precision() == expected
        if hasattr(matmul, 'fp32_precision'):
            for name in 'tf32', 'ieee':
                matmul.fp32_precision = name
                assert precision() == name
    finally:
        torch.set_float32_matmul_precision(before)


@interpreted
def test_nothing_to_do():
    from selfy_mmaction.ops import stss_triton
    q = torch.zeros(0, 3, 4, 5, 8)
    out = stss_triton.products(q, [0, 1], 3, 3, False)
    assert out.shape == (0, 3, 2, 4, 5, 3, 3)
    assert stss_triton.products_backward(out, q, [0, 1], 3, 3,
                                         False).shape == q.shape


def used(compiled, arch, folder):
    """Registers and spilled bytes per thread, as ptxas reports them."""
    ptx = folder / 'kernel.ptx'
    ptx.write_text(compiled.asm['ptx'])
    ptxas = triton.knobs.nvidia.ptxas.path
    report = subprocess.run(
        [ptxas, '-v', f'--gpu-name={arch}', ptx, '-o', folder / 'cubin'],
        check=True,
        capture_output=True,
        text=True).stderr
    return (int(re.search(r'Used (\d+) registers', report)[1]),
            int(re.search(r'(\d+) bytes spill stores', report)[1]))


@pytest.mark.skipif(INTERPRETED, reason='nothing is compiled there')
@pytest.mark.parametrize('name', ['_forward', '_backward'])
@pytest.mark.parametrize('dtype, precision, capability, V, replicate',
                         [('fp32', 'ieee', 80, 9, True),
                          ('fp32', 'tf32', 90, 9, True),
                          ('fp32', 'ieee', 80, 25, False),
                          ('fp16', 'ieee', 80, 25, False),
                          ('bf16', 'ieee', 90, 9, True)])
def test_compiles_ahead_of_time(tmp_path, name, dtype, precision, capability,
                                V, replicate):
    from triton.backends.compiler import GPUTarget

    from selfy_mmaction.ops import stss_triton
    kernel = getattr(stss_triton, name)
    constants = dict(
        OFFSETS=(-2, -1, 0, 1, 3),
        U=9,
        V=V,
        REPLICATE=replicate,
        PRECISION=precision,
        **stss_triton.blocks(128, V, 4 if dtype == 'fp32' else 2))
    pointers = dict(q=f'*{dtype}', grad=f'*{dtype}', out=f'*{dtype}')
    signature = {
        arg: 'constexpr' if arg in constants else pointers.get(arg, 'i32')
        for arg in kernel.arg_names
    }
    compiled = triton.compile(
        triton.compiler.ASTSource(kernel, signature, constants),
        target=GPUTarget('cuda', capability, 32))
    arch = f'sm_{capability}' + ('a' if capability >= 90 else '')
    registers, spilled = used(compiled, arch, tmp_path)
    print(f'{name[1:]} {dtype} {precision} sm_{capability}: '
          f'{compiled.metadata.shared} bytes of shared memory, '
          f'{registers} registers, {spilled} bytes spilled')
    if dtype != 'fp32' or precision == 'tf32':
        assert 'mma' in compiled.asm['ptx']  # the tensor cores
    # Nothing that would leave room for only a few programs at once.
    assert compiled.metadata.shared <= 24 * 1024
    assert spilled <= 128
