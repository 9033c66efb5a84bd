"""The parts of grade watch: saves, keys, gradings that can be cancelled, hints one at a time."""
