"""The command ``serve``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from classifier_training.cli.arguments import Labels, PreprocessingText, Quiet
from classifier_training.errors import ConfigError

_EXTRA = ("fastapi", "uvicorn", "httptools", "python_multipart", "prometheus_client")
Workers = Annotated[int, typer.Option(min=1, help="Processes that answer; each has the model in memory.")]
ApiKey = Annotated[
    str | None,
    typer.Option(
        envvar="CLASSIFIER_TRAINING_API_KEY",
        help="Ask for this key; better given by the variable, as others see command lines.",
        metavar="KEY",
    ),
]


def serve(
    model: Annotated[str, typer.Argument(help="Run folder or .onnx file.", metavar="MODEL")],
    host: Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0: all of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen at; 0: any free one.")] = 8000,
    workers: Workers = 1,
    name: Annotated[str | None, typer.Option(help="Name of the model; default: that of the run or file.")] = None,
    api_key: ApiKey = None,
    max_mb: Annotated[float, typer.Option(help="Largest request, MiB.")] = 20.0,
    max_megapixels: Annotated[float, typer.Option(help="Largest image, millions of pixels.")] = 64.0,
    max_images: Annotated[int, typer.Option(min=1, help="Most images of a request.")] = 64,
    queue: Annotated[int, typer.Option(min=1, help="Most images on their way; beyond: status 503.")] = 256,
    timeout: Annotated[float, typer.Option(help="Seconds until a request has its answer, or status 504.")] = 30.0,
    max_batch: Annotated[int, typer.Option(min=1, help="Most images in a run of the model.")] = 8,
    labels: Labels = None,
    preprocessing: PreprocessingText = None,
    quiet: Quiet = False,
) -> None:
    """Serve an exported model over HTTP, with a page for trying it.

    Examples:
      classifier-training serve runs/shirts
      classifier-training serve runs/shirts --port 9000 --workers 2
    """
    _check_extra()
    from classifier_training.inference.session import onnx_file
    from classifier_training.serve.server import serve as run_server
    from classifier_training.serve.settings import ServeSettings
    from classifier_training.terminal.terminal import Terminal

    path = onnx_file(Path(model))
    settings = ServeSettings(
        host=host, port=port, workers=workers, name=name, api_key=api_key, queue=queue, timeout=timeout,
        max_mb=max_mb, max_megapixels=max_megapixels, max_images=max_images, max_batch=max_batch,
        labels=None if labels is None else str(labels), preprocessing=preprocessing,
    )  # fmt: skip
    run_server(path, settings, Terminal(quiet=quiet).info)


def _check_extra() -> None:
    """Refuses to begin without the packages of the extra."""
    from importlib import import_module

    missing = []
    for name in _EXTRA:
        try:
            import_module(name)
        except ModuleNotFoundError:
            missing.append(name)
    if missing:
        raise ConfigError(
            f"serve needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}; install them:"
            " pip install 'classifier-training[serve]'"
        )
