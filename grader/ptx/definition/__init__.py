"""What each PTX instruction computes, one file per family; `grader.ptx.definition.semantics` is the door to it."""
