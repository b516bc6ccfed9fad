"""Trains the winner for long and evaluates it on the test split once."""
