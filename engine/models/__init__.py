"""Models: where they come from, whether two of them make a pair, LoRA, and small ones made from nothing."""
