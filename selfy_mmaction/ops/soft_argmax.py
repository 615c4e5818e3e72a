"""Soft-argmax (Sec. 3.2): from similarities to displacements."""
import torch
from torch import Tensor

from .stss import within_map


def check_temperature(temperature: float) -> float:
    """Return the temperature, which must be positive.

    Raises:
        ValueError: If it is not.
    """
    if not temperature > 0:
        raise ValueError('temperature must be a positive number, but got '
                         f'{temperature}.')
    return temperature


def soft_argmax(similarities: Tensor,
                temperature: float = 0.01,
                mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    r"""Displacement at which the similarity is highest (Sec. 3.2).

    .. math::
        d = \sum_{u, v} \operatorname{softmax}_{u, v}(S / \tau)
        \, [u - \lfloor U / 2 \rfloor, v - \lfloor V / 2 \rfloor]

    The sum is over the neighbours that exist, so that the borders of the map
    do not bias the displacement. Where all similarities are 0, as beyond the
    ends of a clip, displacement and confidence are 0.

    Args:
        similarities (Tensor): [..., U, V].
        temperature (float): The lower, the closer to the argmax, and the
            larger the gradients. Defaults to 0.01: the cosines of a map often
            differ by hundredths.
        mask (Tensor, optional): Which neighbours exist, boolean, of a shape
            that broadcasts to that of the similarities, such as a part of
            :func:`within_map`. By default, for the seven dimensions that
            :func:`stss` returns, [N, T, H, W, L, U, V], those on the map; for
            any other shape those whose similarity is not exactly 0, which
            features after a ReLU can have inside of the map, too.

    Returns:
        tuple[Tensor, Tensor]: Displacement, [..., 2], and confidence, [...].
        The displacement is (vertical, horizontal), the order of (U, V), in
        cells of the feature map, positive downwards and to the right. The
        confidence is the highest similarity, as in MotionSqueeze.

    Raises:
        ValueError: If the temperature is not positive.
    """
    check_temperature(temperature)
    U, V = similarities.shape[-2:]
    nonzero = similarities != 0
    if mask is None:
        mask = nonzero
        if similarities.dim() == 7:
            H, W = similarities.shape[2:4]
            # [H, W, U, V] => [H, W, 1, U, V]
            mask = within_map(H, W, U, V, similarities.device)[:, :, None]
    # [..., U, V], all of them where the similarities are all 0
    missing = ~(mask & nonzero.any(-1).any(-1)[..., None, None])
    # Sums need more than the half types.
    wide = torch.promote_types(similarities.dtype, torch.float32)
    # Finite: if all are missing, the weights are equal and their mean is 0.
    logits = (similarities.to(wide) / temperature).masked_fill(
        missing,
        torch.finfo(wide).min)
    weights = logits.flatten(-2).softmax(-1).unflatten(-1, (U, V))
    u, v = (
        torch.arange(size, device=weights.device, dtype=weights.dtype) -
        size // 2 for size in (U, V))
    # Not as products with vectors, which autocast would round.
    displacement = torch.stack([(weights.sum(-1) * u).sum(-1),
                                (weights.sum(-2) * v).sum(-1)], -1)
    lowest = torch.finfo(similarities.dtype).min
    confidence = similarities.masked_fill(missing, lowest).amax((-2, -1))
    confidence = confidence.masked_fill(missing.all(-1).all(-1), 0)
    return displacement.to(similarities.dtype), confidence
