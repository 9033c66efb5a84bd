"""PTX text, as NVRTC prints it, into a Module.

Grammar: PTX ISA, sections "Syntax", "State Spaces, Types, and Variables" and "Directives".
"""
