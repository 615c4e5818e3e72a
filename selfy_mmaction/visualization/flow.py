"""Pictures of optical flow, in the colours of Middlebury's wheel."""
import cv2
import numpy as np
from estimator import STRIDE
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


def draw_flow(frame: np.ndarray, flow: np.ndarray,
              max_length: float) -> np.ndarray:
    """Put the motion, in colours, beside a frame.

    Args:
        frame (np.ndarray): RGB of type uint8, [H, W, 3].
        flow (np.ndarray): Displacements in pixels, see `FlowEstimator`.
        max_length (float): The length of full saturation, in pixels.

    Returns:
        np.ndarray: RGB of type uint8, [H, 2 * W, 3], with the colour wheel
        in a corner, and ``max_length`` beside it.
    """
    height, width = frame.shape[:2]
    # Position (i, j) is the middle of STRIDE x STRIDE pixels.
    colors = np.kron(
        flow_to_color(flow, max_length), np.ones((STRIDE, STRIDE, 1),
                                                 np.uint8))
    colors = np.pad(colors, ((0, height), (0, width), (0, 0)), 'edge')
    colors = colors[STRIDE // 2:][:height, STRIDE // 2:][:, :width].copy()
    side = min(height, width) // 5
    colors[:side, :2 * side] = 255
    y, x = np.mgrid[:side, :side] * 2 / (side - 1) - 1
    wheel = flow_to_color(max_length * np.stack([x, y], -1), max_length)
    inside = np.hypot(x, y) <= 1
    colors[:side, :side][inside] = wheel[inside]
    cv2.putText(colors, f'{max_length:.0f} px', (side + 2, side // 2 + 4),
                cv2.FONT_HERSHEY_SIMPLEX, side / 110, (0, 0, 0), 1,
                cv2.LINE_AA)
    return np.concatenate([frame, colors], 1)
