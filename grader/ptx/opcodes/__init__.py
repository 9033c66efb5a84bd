"""What is known of an opcode before it is lowered.

traits.py defines the traits, rows.py lists them for each opcode, and opcode.py reads an opcode and answers what
depends on its modifiers.
"""
