"""Predicting with trained networks: videos, cameras, ONNX; no training."""
