"""Whether a winner holds up: fresh seeds, fresh images, and what may be claimed of them."""
