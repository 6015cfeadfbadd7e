"""Numbers that compare a generated video with the true one, all in float64."""
