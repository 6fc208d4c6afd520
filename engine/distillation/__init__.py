"""Dataset distillation: learning a few synthetic inputs by going back through a student's training on them."""
