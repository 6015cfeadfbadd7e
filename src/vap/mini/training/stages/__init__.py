"""The stages that make the bundled model; each module has a function ``run(recipe)``."""
