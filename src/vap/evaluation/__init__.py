"""How good generated videos are: metrics, and the evaluations that a command runs."""
