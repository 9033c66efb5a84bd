"""PTX to LLVM IR that runs a warp at once: a value that differs between lanes is a vector of 32."""
