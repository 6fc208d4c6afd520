"""Training loops on token samples: tensors in, numbers out. No files, no ledger; a `tick` may raise to stop them."""
