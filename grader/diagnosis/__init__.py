"""Where the wrong elements are, and which mistake would produce exactly these numbers."""
