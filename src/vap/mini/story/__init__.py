"""``vap eval story``: what a small model does, in pictures that move.

Panels of references, images and results show on what a result depends: the same image with ten
references, the same reference with ten images, the strength, two references at once.
"""
