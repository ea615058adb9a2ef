"""One torch thread: the networks are small, and test runs share their machine."""

from __future__ import annotations

import torch

torch.set_num_threads(1)
