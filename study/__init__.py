"""What is searched, how trials, studies and final runs are carried out, and the command line."""
