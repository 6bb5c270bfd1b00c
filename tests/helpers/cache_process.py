"""A process that fills an image cache, for tests that start several, fill its disk, or kill it.

Run: python -m tests.helpers.cache_process ROOT SHARED_MEMORY SETTING COUNT SEED [FILE_SIZE_LIMIT]

It says "open KIND", a line for each image that it has stored, its warnings, and "done"; then it waits for the end of
its input, and closes the cache.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from tests.helpers.stored_images import image_of, make_list

from classifier_training.data.cache.choice import CacheSetting, choose_cache


def main(words: list[str]) -> None:
    root, shared_memory, setting, count, seed = words[:5]
    settings: tuple[CacheSetting, ...] = ("auto", "none", "memory", "disk")
    images = make_list(int(count), short_side=128, sides=(100, 300))
    choice = choose_cache(images, Path(root), settings[settings.index(setting)], shared_memory=Path(shared_memory))
    say(f"open {choice.kind}")
    if len(words) > 5:
        limit_file_size(int(words[5]))
    if choice.cache is not None:
        order = list(range(len(images)))
        random.Random(int(seed)).shuffle(order)
        for position in order:
            if choice.cache.get(position) is None:
                choice.cache.put(position, image_of(images, position))
                say(f"stored {position}")
        for warning in choice.cache.new_warnings():
            say(f"warning: {warning}")
    say("done")
    sys.stdin.read()
    choice.close()


def limit_file_size(num_bytes: int) -> None:
    """Lets no file of this process grow beyond a size, or be written behind it."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, num_bytes))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
