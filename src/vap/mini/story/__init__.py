"""``vap eval story``: moving panels that show what a result depends on."""
