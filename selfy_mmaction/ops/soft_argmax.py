"""Soft-argmax (Sec. 3.2): from similarities to displacements."""
import torch
from torch import Tensor


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
                temperature: float = 0.01) -> tuple[Tensor, Tensor]:
    r"""Displacement at which the similarity is highest (Sec. 3.2).

    .. math::
        d = \sum_{u, v} \operatorname{softmax}_{u, v}(S / \tau)
        \, [u - \lfloor U / 2 \rfloor, v - \lfloor V / 2 \rfloor]

    A similarity of exactly 0, which :func:`stss` gives where there is no
    neighbour, is masked out, so that the borders of the map do not bias the
    displacement. Where all are 0, as beyond the ends of a clip, displacement
    and confidence are 0. (After a softmax none is, where there is a map.)

    Args:
        similarities (Tensor): [..., U, V], of :func:`stss`.
        temperature (float): The lower, the closer to the argmax, and the
            larger the gradients. Defaults to 0.01: the cosines of a map often
            differ by hundredths.

    Returns:
        tuple[Tensor, Tensor]: Displacement, [..., 2], and confidence, [...].
        The displacement is (vertical, horizontal), the order of (U, V), in
        cells of the feature map, positive downwards and to the right. The
        confidence is the highest similarity, as in MotionSqueeze.

    Raises:
        ValueError: If the temperature is not positive.
    """
    U, V = similarities.shape[-2:]
    # Sums need more than the half types.
    wide = torch.promote_types(similarities.dtype, torch.float32)
    logits = similarities.to(wide) / check_temperature(temperature)
    # Finite: if all are masked, the weights are equal and their mean is 0.
    logits = logits.masked_fill(similarities == 0,
                                torch.finfo(logits.dtype).min)
    weights = logits.flatten(-2).softmax(-1).unflatten(-1, (U, V))
    u, v = (
        torch.arange(size, device=weights.device, dtype=weights.dtype) -
        size // 2 for size in (U, V))
    # Not as products with vectors, which autocast would round.
    displacement = torch.stack([(weights.sum(-1) * u).sum(-1),
                                (weights.sum(-2) * v).sum(-1)], -1)
    return (displacement.to(similarities.dtype), similarities.amax((-2, -1)))
