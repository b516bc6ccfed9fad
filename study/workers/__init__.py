"""Workers: claim trials, run on GPUs, and end."""
