"""Training: recipes, one loop, and the stages of a model."""
