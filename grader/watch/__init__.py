"""What grade watch is made of: saves, keys, gradings that can be cancelled, hints one at a time."""
