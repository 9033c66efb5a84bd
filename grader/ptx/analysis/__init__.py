"""What can be said of a kernel from its PTX alone."""
