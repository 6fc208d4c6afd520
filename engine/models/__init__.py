"""Models: loading, LoRA, checkpoints, networks, functional models, and small models from scratch."""
