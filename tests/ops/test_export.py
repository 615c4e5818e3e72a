"""The operator and the block inside another model, in ONNX Runtime."""
import pytest
import torch
from torch import nn

from selfy_mmaction.apis.export import quiet_exporter
from selfy_mmaction.models import SELFYBlock
from selfy_mmaction.ops import stss

runtime = pytest.importorskip('onnxruntime')


class WithOperator(nn.Module):
    """Tokens of a grid, compared with earlier frames."""

    def __init__(self):
        super().__init__()
        self.project, self.head = nn.Linear(3, 8), nn.Linear(2 * 3 * 5, 4)

    def forward(self, x):
        """[N, T, 3, H, W] => [N, T, H, W, 4]"""
        q = self.project(x.movedim(2, 4))
        maps = stss(q, (2, 3, 5), 'softmax', offsets=(-1, 0), layout='NTHWC')
        return self.head(maps.flatten(4))


class WithBlock(nn.Module):

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)
        self.block = SELFYBlock(16, 4, mid_channels=8, window=(3, 5, 5))
        nn.init.ones_(self.block.residual_add.bn.weight)

    def forward(self, x):
        """[N, T, 3, H, W] => [N, 16]"""
        x = self.block(self.conv(x.flatten(0, 1)).relu())
        return x.unflatten(0, (-1, 4)).mean((1, 3, 4))


@pytest.mark.parametrize('model', [WithOperator, WithBlock])
def test_any_number_of_clips(model):
    torch.manual_seed(0)
    model = model().eval()
    number = torch.export.Dim('number')
    # More columns than a tile has.
    shape = (4, 3, 6, 18)
    with torch.no_grad(), quiet_exporter():
        program = torch.onnx.export(
            model, (torch.randn(2, *shape), ),
            dynamo=True,
            dynamic_shapes=({
                0: number
            }, ),
            opset_version=18,
            input_names=['clips'],
            verbose=False)
    session = runtime.InferenceSession(
        program.model_proto.SerializeToString(),
        providers=['CPUExecutionProvider'])
    for n in 1, 3:
        x = torch.randn(n, *shape)
        actual, = session.run(None, {'clips': x.numpy()})
        with torch.no_grad():
            torch.testing.assert_close(
                torch.from_numpy(actual), model(x), rtol=1e-4, atol=1e-5)
