"""What a submission's speed is measured against: one file for each data type, and a line in `registry`."""
