"""How a kernel is launched: its signature, its launch, its arguments."""
