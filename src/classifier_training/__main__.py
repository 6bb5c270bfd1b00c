"""``python -m classifier_training``, also as torchrun starts it."""

from classifier_training.cli import main

main()
