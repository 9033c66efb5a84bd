"""What is known of an opcode before it is lowered.

traits.py says what there is to know, rows.py says it of each opcode, opcode.py reads an opcode and answers what its
modifiers decide.
"""
