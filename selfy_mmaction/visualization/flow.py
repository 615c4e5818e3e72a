"""Displacements in the colours of Middlebury's wheel."""
import numpy as np
from mmcv.visualization import flow2rgb


def flow_to_color(flow: np.ndarray,
                  max_length: float | None = None) -> np.ndarray:
    """Colours of displacements, by the colour wheel of Middlebury.

    The hue is the direction and the saturation the length: white is no
    motion, black is unknown.

    Args:
        flow (np.ndarray): Displacements (x, y), x to the right and y
            downwards, in any unit, [..., 2]; NaN where unknown.
        max_length (float, optional): The length of full saturation, in the
            same unit; longer ones look the same. By default the longest.

    Returns:
        np.ndarray: RGB of type uint8, [..., 3].
    """
    flow = np.asarray(flow, np.float32)
    # [..., 2] => [1, M, 2], the shape that MMCV takes
    pixels = flow.reshape(1, -1, 2)
    if max_length is not None:
        length = np.linalg.norm(pixels, axis=-1, keepdims=True)
        pixels = pixels / np.maximum(length / max_length, 1)
        # MMCV normalises by the longest.
        pixels = np.append(pixels, [[[max_length, 0]]], axis=1)
    colors = flow2rgb(pixels)[0, :flow[..., 0].size]
    return (255 * colors).round().astype(np.uint8).reshape(*flow.shape[:-1], 3)


def color_wheel(size: int) -> np.ndarray:
    """The colours of the directions, RGB of type uint8, [size, size, 3]."""
    y, x = np.mgrid[-1:1:1j * size, -1:1:1j * size]
    wheel = flow_to_color(np.stack([x, y], -1), 1)
    wheel[np.hypot(x, y) > 1] = 255
    return wheel
