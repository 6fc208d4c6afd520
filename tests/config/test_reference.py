"""docs/recipes.md has every key of every recipe, and is what the models say."""

from __future__ import annotations

import pytest

from engine.common.paths import CHECKOUT
from engine.config.base import Settings
from engine.config.kinds import KINDS
from engine.config.reference import _document, reference


def test_the_committed_document_is_current() -> None:
    """Make it again with `python -m engine.config.reference > docs/recipes.md`."""
    assert (CHECKOUT / "docs" / "recipes.md").read_text(encoding="utf-8") == reference()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_there_with_every_key(kind: str) -> None:
    document = reference()
    assert f"\n## {kind}\n" in document
    for name in KINDS[kind].recipe.model_fields:
        assert f"| {name} |" in document or f"| **{name}** |" in document


def test_a_key_without_a_meaning_is_refused() -> None:
    class Silent(Settings):
        """A table."""

        undocumented: int = 0

    with pytest.raises(ValueError, match=r"Silent\.undocumented has no docstring"):
        _document(Silent)
