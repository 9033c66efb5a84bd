"""What each PTX instruction computes, one file per family; `grader.ptx.semantics` is the door to it."""
