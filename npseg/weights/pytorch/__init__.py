"""PyTorch's .pth and .pt files, without PyTorch, and without running what is in them."""

from npseg.weights.pytorch.files import read
from npseg.weights.pytorch.writing import write

__all__ = ["read", "write"]
