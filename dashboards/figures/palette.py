"""The colours of every figure and page, each with one meaning.

Orange is the best, the chosen or the suggested, and nothing else. Lines and markers are told apart
by style or shape too, for the colour-blind. Must not import torch.
"""

from matplotlib.colors import LinearSegmentedColormap

INK = "#1f2328"
BEST = "#d9730d"
"""What is the best, chosen or suggested."""
MEASURED = "#2f81c7"
"""What was measured on validation images, and counts."""
ASIDE = "#8c959f"
"""What stands behind the measured: training scores, single steps."""
STATES = {
    "complete": MEASURED,
    "pruned": ASIDE,
    "failed": "#b3435c",
    "running": "#2f9a72",
    "paused": "#8a63c7",
    "waiting": "#c3cad2",
}
"""Of each state of a trial, in the order in which legends name them."""
LINES = ("#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#8a63c7", "#8f8f2e")
"""Of lines that are compared; repeated with another line style."""
# From transparent to blue: an empty cell shows the page, whatever its colour.
BLUES = LinearSegmentedColormap.from_list(
    "blues", [(0.18, 0.51, 0.78, 0.0), (0.18, 0.51, 0.78, 1.0)]
)
SCORE_STOPS = ("#7a5aa6", "#3f7fb0", "#1fa088", "#8cc63f")
"""From a low score to a high one; each is seen on white and on black."""
SCORES = LinearSegmentedColormap.from_list("scores", list(SCORE_STOPS))
