"""All photos of a run, found, checked and split: what the data module and the evaluation are built on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from classifier_training.config.schema import DataConfig
from classifier_training.data.inspect import (
    BadImage,
    FileFacts,
    Progress,
    bad_images,
    inspect_files,
    name_some,
)
from classifier_training.data.sources.listing import SPLITS, Listing, Split
from classifier_training.data.sources.recognise import list_photos
from classifier_training.data.sources.table import Columns
from classifier_training.data.split import split_by_content
from classifier_training.errors import DataError
from classifier_training.types import Sample


@dataclass(frozen=True, slots=True)
class Photos:
    """The photos of a run.

    Attributes:
        root: Where they lie.
        layout: How they lie, for a person.
        classes: Class names of the training split, lexicographic; a class index is a position in it.
        splits: The good pictures of each split.
        bad: The files that were left out.
        notes: How the splits were made, where the source did not define them.
        warnings: What a person should know.
        digests: Content hash of every file, by its path.
        fingerprint: Hash over every picture's content, label and split.
    """

    root: Path
    layout: str
    classes: tuple[str, ...]
    splits: Mapping[Split, tuple[Sample, ...]]
    bad: tuple[BadImage, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    digests: Mapping[str, str]
    fingerprint: str

    def labels(self, split: Split) -> list[int]:
        """Class index of every picture of a split."""
        index = {name: number for number, name in enumerate(self.classes)}
        return [index[sample.label] for sample in self.splits[split]]

    def counts(self, split: Split) -> list[int]:
        """Number of pictures of each class in a split."""
        found = Counter(sample.label for sample in self.splits.get(split, ()))
        return [found[name] for name in self.classes]


def load_photos(config: DataConfig, seed: int, progress: Progress | None = None) -> Photos:
    """Finds, checks and splits the photos of ``config.root``.

    Args:
        config: The data settings.
        seed: The run's seed, for the split.
        progress: Told how many files have been checked.

    Raises:
        DataError: There are no photos, broken ones, one class only, or classes that the training split lacks.
    """
    if config.root is None:
        raise DataError("no photos given; name a folder: classifier-training train PHOTOS")
    # the run's split.csv must hold from any working directory
    root = Path(config.root).expanduser().resolve()
    columns = Columns(config.image_column, config.label_column, config.split_column)
    listing = list_photos(root, columns)
    for split, listed in listing.splits.items():
        if not listed:
            raise DataError(f"the {split} split holds no images: {listing.places[split]}; add some, or remove it")
    facts = inspect_files([sample.path for sample in listing.samples], progress)
    bad = bad_images(facts, config.on_bad_image)
    good = _without_bad(listing, facts)
    if not good.samples:
        raise DataError(f"no image in {root} can be read: {name_some(image.reason for image in bad)}")
    splits, notes = _split(good, facts, config, seed)
    classes = _classes(splits, root)
    lost = _lost_classes(listing, classes)
    warnings = [*listing.warnings, *lost, *_split_warnings(splits, classes, facts)]
    return Photos(
        root=root,
        layout=listing.layout,
        classes=classes,
        splits={split: tuple(samples) for split, samples in splits.items()},
        bad=bad,
        notes=tuple(notes),
        warnings=tuple(warnings),
        digests={path: fact.digest for path, fact in facts.items()},
        fingerprint=_fingerprint(splits, facts),
    )


def _without_bad(listing: Listing, facts: Mapping[str, FileFacts]) -> Listing:
    def readable(samples: list[Sample]) -> list[Sample]:
        return [sample for sample in samples if facts[sample.path].error is None]

    splits = {split: readable(samples) for split, samples in listing.splits.items()}
    return replace(listing, splits=splits, unsplit=readable(listing.unsplit))


def _split(
    listing: Listing, facts: Mapping[str, FileFacts], config: DataConfig, seed: int
) -> tuple[dict[Split, list[Sample]], list[str]]:
    """The final splits, and what to say of them."""
    if listing.unsplit:
        splits = _divide(listing.unsplit, facts, config.val_fraction, config.test_fraction, seed)
        shares = f"{config.val_fraction:.0%} validation, {config.test_fraction:.0%} test"
        return splits, [f"no splits given: each photo's content and seed {seed} decide its split ({shares})"]
    splits = dict(listing.splits)
    if "train" not in splits:
        raise DataError(f"{' and '.join(splits)} without a train split; add a train folder (or rows of that split)")
    if "val" in splits:
        return splits, []
    divided = _divide(splits["train"], facts, config.val_fraction, 0.0, seed)
    ordered = {split: divided.get(split) or splits.get(split, []) for split in SPLITS}
    note = f"no validation split given: {config.val_fraction:.0%} of the training photos are held out for it"
    return {split: samples for split, samples in ordered.items() if samples}, [note]


def _divide(
    samples: Sequence[Sample],
    facts: Mapping[str, FileFacts],
    val_fraction: float,
    test_fraction: float,
    seed: int,
) -> dict[Split, list[Sample]]:
    digests = [facts[sample.path].digest for sample in samples]
    return split_by_content(samples, digests, val_fraction=val_fraction, test_fraction=test_fraction, seed=seed)


def _classes(splits: Mapping[Split, Sequence[Sample]], root: Path) -> tuple[str, ...]:
    known = {sample.label for sample in splits["train"]}
    classes = tuple(sorted(known))
    for split, samples in splits.items():
        strangers = {sample.label: sample.path for sample in samples if sample.label not in known}
        if strangers:
            name, path = min(strangers.items())
            more = f" (and {len(strangers) - 1} more such classes)" if len(strangers) > 1 else ""
            raise DataError(
                f"class {name!r} exists in the {split} split ({path}) but has no training images{more}; add some, or"
                " remove it"
            )
    if len(classes) < 2:
        raise DataError(
            f"{root} has one class only ({classes[0]!r}); a classifier needs two or more"
            if classes
            else f"{root} has no training images that can be read"
        )
    if not splits.get("val"):
        raise DataError(f"no validation images in {root}; add photos, or raise data.val_fraction")
    return classes


def _lost_classes(listing: Listing, classes: Sequence[str]) -> list[str]:
    lost = sorted({sample.label for sample in listing.samples} - set(classes))
    return [f"class {name!r} has no image that can be read; the class is left out" for name in lost]


def _split_warnings(
    splits: Mapping[Split, Sequence[Sample]], classes: Sequence[str], facts: Mapping[str, FileFacts]
) -> list[str]:
    """Classes that a split lacks, and photos that leak from training into a score."""
    warnings = []
    trained = {facts[sample.path].digest for sample in splits["train"]}
    for split in ("val", "test"):
        samples = splits.get(split)
        if samples is None:
            continue
        missing = sorted(set(classes) - {sample.label for sample in samples})
        if missing:
            warnings.append(f"no {split} images of class {name_some(map(repr, missing))}")
        leaked = [sample.path for sample in samples if facts[sample.path].digest in trained]
        if leaked:
            warnings.append(f"{len(leaked)} {split} image(s) are also in train, byte for byte: {name_some(leaked)}")
    return warnings


def _fingerprint(splits: Mapping[Split, Sequence[Sample]], facts: Mapping[str, FileFacts]) -> str:
    lines = sorted(
        f"{split}\0{sample.label}\0{facts[sample.path].digest}"
        for split, samples in splits.items()
        for sample in samples
    )
    return hashlib.blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()
