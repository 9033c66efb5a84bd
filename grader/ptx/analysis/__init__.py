"""What can be learned about a kernel from its PTX alone."""
