"""The engine of Winnow: scores, prunes and trains in processes of its own; the app only reads what it leaves."""
