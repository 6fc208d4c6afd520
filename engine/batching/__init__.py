"""Token samples as padded tensors (batch), and which samples are read together (plans)."""
