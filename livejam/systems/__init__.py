"""What plays: LiveBand, the Live Music Diffusion Model, and how it generates block by block."""
