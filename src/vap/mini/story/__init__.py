"""``vap eval story``: moving panels that show on what a result depends."""
