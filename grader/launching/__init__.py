"""How a kernel is to be launched: its signature, its launch, its arguments."""
