"""Models: loading, LoRA, checkpoints, networks, functional models, and small models from scratch."""

import logging

# peft and transformers load torchao if it is installed, and loading it warns about each of its compiled files that this
# Python or device cannot use, and about what torch will change.
for _name in ("torchao", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
