"""Backgrounds: landscapes, textures and photographs, with how near each pixel is."""
