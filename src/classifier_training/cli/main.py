"""The command line: parse, call the function that the Python API has too, show what it gave."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from classifier_training.cli.evaluate import evaluate
from classifier_training.cli.report import compare, report
from classifier_training.cli.words import Quiet, split_arguments
from classifier_training.errors import ClassifierTrainingError, ConfigError, UserError

if TYPE_CHECKING:
    from classifier_training.config.options import Option

app = typer.Typer(
    name="classifier-training",
    help="A folder of labelled photos in; a trained, scored, exported and proven image classifier out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _version(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    if version:
        from classifier_training import __version__

        typer.echo(f"classifier-training {__version__}")


config_app = typer.Typer(help="Look at settings.", no_args_is_help=True)
app.add_typer(config_app, name="config")
app.command()(report)
app.command()(compare)

EXIT_INTERRUPTED = 130
Settings = Annotated[list[str] | None, typer.Argument(help="Settings, key=value.", metavar="[KEY=VALUE]...")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="YAML file of settings, such as a run's config.yaml.")
]


@app.command()
def train(
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            help="Folder of photos (with --resume: the run), then settings.", metavar="PHOTOS [KEY=VALUE]..."
        ),
    ] = None,
    config: ConfigFile = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run: the one named, or the last.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check settings and photos, train nothing.")] = False,
    quiet: Quiet = False,
) -> None:
    """Train a classifier on a folder of photos.

    classifier-training train photos model=resnet50 data.batch_size=64 trainer.max_epochs=50

    All settings: classifier-training config options
    """
    place, overrides = split_arguments(photos)
    _check_settings(overrides, config, place if not resume else None, is_resumed=resume)
    from classifier_training.training.train import train as run_training

    run_training(
        None if resume else place,
        overrides,
        config=config,
        resume=(place or True) if resume else False,
        dry_run=dry_run,
        quiet=quiet,
    )


app.command()(evaluate)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="Run folder or .onnx file.")],
    images: Annotated[list[str], typer.Argument(help="Image files and folders of them.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write: .csv or .jsonl.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per run of the model.")] = 32,
    on_bad_image: Annotated[
        Literal["raise", "skip"], typer.Option(help="A file that is no image: stop, or leave it out.")
    ] = "raise",
    quiet: Quiet = False,
) -> None:
    """Predict the class of images with an exported model."""
    from classifier_training.inference.predict import check_output, open_predictor, table_rows, write_predictions
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal(quiet=quiet)
    if output is not None:
        check_output(output)
    classifier, paths = open_predictor(model, images)
    with terminal.progress("predicting", "images") as progress:
        predictions = []
        skipped = classifier.predict_files(
            paths, batch_size, on_bad_image, lambda _, error: terminal.warn(f"left out: {error}")
        )
        for prediction in skipped:
            predictions.append(prediction)
            progress(len(predictions), len(paths))
    if output is not None:
        write_predictions(output, predictions, classifier.classes)
        terminal.result(f"{len(predictions)} of {len(paths)} predictions written to {output}")
        return
    # what the command was run for is shown even when the rest is quiet
    Terminal().table("predictions", ["file", "label", "probability"], list(table_rows(predictions)))


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="Run folder.")],
    settings: Settings = None,
    form: Annotated[str, typer.Option(help="Form of the exported file.")] = "onnx",
    quiet: Quiet = False,
) -> None:
    """Export a run's best weights to ONNX and prove that the file answers like the model."""
    from classifier_training.config import load_config
    from classifier_training.exporters.forms import check_form
    from classifier_training.run.folder import open_run

    check_form(form)
    load_config(settings or [], file=open_run(Path(run)).config)  # faults first: what follows takes seconds to import
    from classifier_training.exporters.export import export as run_export
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal(quiet=quiet)
    with terminal.capture_warnings():
        path = run_export(run, settings or [], form=form, quiet=quiet)
    terminal.info(f"written: {path} and, beside it, labels_mapping.json and verification.json")


@app.command()
def prepare(
    photos: Annotated[list[str], typer.Argument(help="Photos, then settings.", metavar="PHOTOS [KEY=VALUE]...")],
    to: Annotated[Path, typer.Option("--to", help="Folder of the shards, new or unfinished; or the cache folder.")],
    size: Annotated[
        int | None, typer.Option(min=1, help="Reduce longer short sides to this, pixels, and write JPEGs.")
    ] = None,
    shard_size: Annotated[str | None, typer.Option(help="Bytes of a shard, such as 1GiB; default 256MB.")] = None,
    form: Annotated[
        Literal["tar", "cache"], typer.Option("--format", help="Tar shards, or the image cache of a training.")
    ] = "tar",
    quiet: Quiet = False,
) -> None:
    """Pack photos into tar shards, which train takes in place of the photos; or fill the image cache.

    classifier-training prepare photos --to shards --size 320

    classifier-training prepare photos --to cache --format cache model=resnet50

    Interrupted, and run again, it goes on. The same photos give the same bytes.
    """
    place, overrides = split_arguments(photos)
    _check_settings(overrides, None, place, is_resumed=False)
    if form == "cache":
        if size is not None or shard_size is not None:
            raise ConfigError("--size and --shard-size are for shards; a cache keeps images of data.cache_size")
        _prepare_cache(place, overrides, to, quiet=quiet)
        return
    from classifier_training.data.packing.prepare import DEFAULT_SHARD_SIZE
    from classifier_training.data.packing.prepare import prepare as run_preparation

    run_preparation(place, overrides, to=to, size=size, shard_size=shard_size or DEFAULT_SHARD_SIZE, quiet=quiet)


@app.command()
def demo(
    settings: Settings = None,
    folder: Annotated[Path, typer.Option(help="Where the demonstration photos are written.")] = Path("demo-data"),
    quiet: Quiet = False,
) -> None:
    """Train on scikit-learn's handwritten digits: real data, no download, a few minutes on a CPU."""
    from classifier_training.config import load_config
    from classifier_training.config.arguments import collect_overrides
    from classifier_training.data.demo import DEMO_SETTINGS, write_digits

    load_config(collect_overrides([DEMO_SETTINGS, settings or []]))
    from classifier_training.training.train import train as run_training

    run_training(write_digits(folder / "digits"), DEMO_SETTINGS, settings or [], quiet=quiet)


@config_app.command("show")
def config_show(settings: Settings = None, config: ConfigFile = None) -> None:
    """Print the configuration that these settings give."""
    from classifier_training.config import load_config, to_yaml

    sys.stdout.write(to_yaml(load_config(settings or [], file=config)))


@config_app.command("options")
def config_options() -> None:
    """List all settings and presets."""
    from classifier_training.config.options import options, presets
    from classifier_training.terminal.terminal import Terminal

    terminal = Terminal()
    rows = [[option.key, _type(option), option.default, option.description] for option in options()]
    terminal.columns("settings, key=value", ["key", "type", "default", "meaning"], rows)
    terminal.columns("presets", ["preset", "for"], [[f"{one.group}={one.name}", one.summary] for one in presets()])


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process: 0 done, 1 failed, 2 a user's mistake, 130 interrupted.

    A training that a scheduler's signal stopped ends with 0, too: `TrainingStopped` is a `SystemExit` of its own.
    """
    words = sys.argv[1:] if arguments is None else arguments
    # --resume is a flag, and the run a word after it; people type --resume=RUN as well
    words = [part for word in words for part in (word.split("=", 1) if word.startswith("--resume=") else [word])]
    try:
        code = app(words or ["--help"], standalone_mode=False)
    except ClassifierTrainingError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES}:
            raise
        where = f" {error.filename}" if error.filename else ""
        _fail(f"cannot write{where}: {error.strerror}; what was written before is whole", UserError.exit_code)
    except Exception as error:
        # Typer's own complaints about the words; the class they share has moved between its versions
        complaint = getattr(error, "format_message", None)
        if complaint is None:
            raise
        told = " ".join(complaint().split()).rstrip(".")
        is_option = "No such option" in told
        hint = "settings are key=value, such as trainer.max_epochs=20" if is_option else "see --help"
        _fail(f"{told}; {hint}", UserError.exit_code)
    if isinstance(code, int) and code:  # Typer turns an interrupt into its exit code
        sys.stderr.write("stopped\n")
        sys.exit(code)


def _prepare_cache(place: str | None, overrides: list[str], to: Path, *, quiet: bool) -> None:
    from classifier_training.terminal.terminal import Terminal
    from classifier_training.training.fill_cache import prepare_cache

    terminal = Terminal(quiet=quiet)
    with (
        terminal.capture_warnings(),
        terminal.progress("checking photos", "files") as checking,
        terminal.progress("storing", "images") as storing,
    ):
        prepared = prepare_cache(place, overrides, to=to, checking=checking, storing=storing)
    for message in prepared.messages:
        terminal.info(message)
    for message in prepared.warnings:
        terminal.warn(message)
    terminal.result(
        f"{prepared.num_stored} of {prepared.num_images} images ({prepared.num_made} new) written to"
        f" {prepared.folder}; train with data.cache_dir={prepared.folder}"
    )


def _type(option: Option) -> str:
    """The type of a setting, or the values that it may have."""
    return " | ".join(option.choices) if option.choices else option.type


def _fail(message: str, code: int) -> None:
    for line in message.splitlines():
        sys.stderr.write(f"error: {line}\n")
    sys.exit(code)


def _check_settings(overrides: list[str], config: Path | None, photos: str | None, *, is_resumed: bool) -> None:
    """Finds faults in the settings before anything heavy is imported."""
    from classifier_training.config import load_config

    if is_resumed:
        load_config(overrides)
        return
    settings = load_config(overrides if photos is None else [f"data.root={photos}", *overrides], file=config)
    if settings.data.root is None:
        raise ConfigError("no photos given; name a folder: classifier-training train PHOTOS")
    if not _may_be_a_source(settings.data.root):
        raise ConfigError(f"there is no folder {settings.data.root}; name a folder of photos or a table file")


def _may_be_a_source(root: str) -> bool:
    """Whether it is worth looking for photos there: what lies at an address is found out later."""
    from classifier_training.data.sources.address import is_pattern, is_remote

    return is_remote(root) or is_pattern(root) or Path(root).expanduser().exists()


if __name__ == "__main__":
    main()
