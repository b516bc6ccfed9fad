"""Writes models that leave the program: a folder that needs neither the study nor its database."""
