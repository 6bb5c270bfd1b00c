"""From an index row to a batch: decode, crop, augment, collate, normalise; `sampling` chooses the images."""
