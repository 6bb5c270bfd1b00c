"""The same file behind LitServe, for `benchmarks.serving`: ``python -m benchmarks.serving_litserve MODEL PORT``.

LitServe looks at the types of `decode_request`, so they are not kept as text here.
"""

import sys
from typing import Any

import litserve  # type: ignore[import-not-found]
import numpy as np
from fastapi import Request

from classifier_training.imaging.decode import decode_image
from classifier_training.imaging.preprocess import preprocess
from classifier_training.inference.classifier import Classifier, softmax


class ClassifierAPI(litserve.LitAPI):  # type: ignore[misc]
    """Decodes and prepares images by this project's code, and runs the model on batches."""

    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        """Opens the model."""
        self.classifier = Classifier(sys.argv[1])

    def decode_request(self, request: Request) -> Any:
        """From the file of a form to the model's input."""
        form: Any = request  # LitServe reads the form before
        return preprocess(decode_image(form["image"].file.read()), self.classifier.preprocessing)

    def batch(self, inputs: list[Any]) -> Any:
        """One array."""
        return np.stack(inputs)

    def predict(self, x: Any) -> Any:
        """Probabilities."""
        return softmax(self.classifier.logits(x))

    def unbatch(self, output: Any) -> Any:
        """One row an image."""
        return output

    def encode_response(self, output: Any) -> Any:
        """JSON."""
        return {"label": self.classifier.classes[int(output.argmax())], "probabilities": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(ClassifierAPI(max_batch_size=16, batch_timeout=0.01), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False, log_level="warning")
