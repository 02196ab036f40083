"""What `${…}` in a config can compute: names of folders, and sizes that follow from others."""

from __future__ import annotations

from typing import Any

from omegaconf import DictConfig, OmegaConf


def register() -> None:
    """Make the functions below known to all configs."""
    # the name before OmegaConf 2.4
    add = getattr(OmegaConf, "register_resolver", None) or OmegaConf.register_new_resolver
    for function in (suffix, window, blocks):
        add(function.__name__, function, replace=True)


def suffix(names: Any) -> str:
    """`_a_b` for the names a and b: a run's folder is called after the overlays that change it.

    Configs say `${suffix:${variant}}`.
    """
    return "".join(f"_{name}" for name in names)


def window(generator: DictConfig, blocks: int = 1) -> int:
    """Frames of a diffusion transformer's context and the blocks after it, which is how long a training crop is.

    Configs say `${window:${model.init_args.generator}}`, with a second argument for rollouts of several blocks.
    """
    sizes = generator.init_args.transformer.init_args
    return int(sizes.context_frames + blocks * sizes.block_frames)


def blocks(context_frames: int, block_frames: int) -> int:
    """Blocks in a context.

    A transformer's mask says `${blocks:${...context_frames},${...block_frames}}`.
    """
    return context_frames // block_frames
