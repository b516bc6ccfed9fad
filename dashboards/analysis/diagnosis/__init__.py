"""What a search has shown about itself, in plain sentences, each with its figures and a remedy.

Nothing is claimed that the data cannot carry: each sentence has a least number of trials, below
which it is not said.
"""
