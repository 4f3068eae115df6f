"""The commands and their options, by kin.

What a command does is a file of its own in `flowkit.cli`, imported when the engine is known.
"""
