"""A packed network as a model of MLflow: rebuilt from code and safetensors, without pickle.

This file is copied into each logged model and run from there, on its own. It is never imported
with the package, because it imports MLflow.
"""

from __future__ import annotations

import mlflow.models
import numpy as np
from mlflow.pyfunc.model import PythonModel, PythonModelContext

_BATCH = 128  # bounds memory: T time steps of a whole test set do not fit


class PackedModel(PythonModel):
    """Loads the packed folder that stands beside it and predicts logits."""

    def load_context(self, context: PythonModelContext) -> None:
        """Read the network from the artifact ``packed``."""
        # Absolute: a copied file has no package around it.
        from spikefront.svtmodels import load_packed

        self._network = load_packed(context.artifacts["packed"]).requires_grad_(False)
        # Makes float32 tensors where the network lives.
        self._like = next(iter(self._network.state_dict().values())).float()

    # MLflow looks at the names: `context` and `params` may be left out.
    def predict(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, model_input: np.ndarray
    ) -> np.ndarray:
        """Logits [B, K] float32 of images [B, C, H, W] or frames [B, T, C, H, W], float32."""
        inputs = self._like.new_tensor(np.asarray(model_input))
        return np.concatenate([self._network(part).cpu().numpy() for part in inputs.split(_BATCH)])


mlflow.models.set_model(PackedModel())
