"""Unlearning methods for multimodal LLMs. They read forget and retain people and write PEFT adapters.

The floors of this package, each of which imports from those below it alone (tests hold it to that):

    cli           one small file a command of `mllmu`
    experiments   stages that run one after another: the demo, sweeps, evaluation
    training      from a configuration to a finished folder: plan, trainer, reference, checkpoints, record
    config, output    flags and recipes to a frozen configuration | card, export, hub, commands to copy
    methods       one file a method; it sees sides of a batch and a `Context`, never the configuration
    toolbox       what a method is written with: samples, losses, sides, context, places, neurons, masks
    recipes, signals

config and output know nothing of each other. The classes of toolbox and methods are what a method of one's own needs.
"""

from mllmu_tasks import __version__

__all__ = ["__version__"]
