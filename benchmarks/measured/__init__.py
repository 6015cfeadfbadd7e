"""What runs inside a measured process.

All but ``our_worker`` also runs in the peer's environment, so it needs torch, numpy and what every
diffusion environment has, and nothing of this package.
"""
