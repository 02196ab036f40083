"""The systems that play: LiveBand and Live Music Diffusion Models, which generate block by block."""
