"""What each PTX instruction computes, one file per family. Start at semantics.py, or interpreter.py for kernels."""
