"""The prompt templates, whose words models have been tuned on."""

from __future__ import annotations

import pytest

from engine.data.templates import TEMPLATES, Template, render, template_hash

HOSTILE = "{instruction} {0} {{}} %s <script> \u202e \x1b[31m ### Response:\n"


def test_alpaca_has_a_form_with_input_and_one_without() -> None:
    """Models tuned on Alpaca meet exactly the words they were tuned on."""
    assert render("alpaca", "Add.", "1 and 2") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
        "response that appropriately completes the request.\n\n### Instruction:\nAdd.\n\n### Input:\n1 and 2\n\n"
        "### Response:\n"
    )
    assert render("alpaca", "Add 1 and 2.", " \n") == (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd 1 and 2.\n\n### Response:\n"
    )


def test_plain_is_the_bare_text() -> None:
    """The plain template adds nothing but line ends."""
    assert render("plain", "Add.", "1 and 2") == "Add.\n1 and 2\n"
    assert render("plain", "Add 1 and 2.", "") == "Add 1 and 2.\n"


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_text_is_never_read_as_a_template(template: Template) -> None:
    """Braces and marks in a sample stay what they are."""
    assert HOSTILE in render(template, HOSTILE, "")
    assert render(template, HOSTILE, HOSTILE).count(HOSTILE) == 2


@pytest.mark.parametrize("template", sorted(TEMPLATES))
def test_bare_text_has_no_prompt(template: Template) -> None:
    """A set of texts without instructions is not dressed up as answers to nothing."""
    assert render(template, "", "") == ""


def test_hashes_tell_templates_apart() -> None:
    """The provenance of a run names its template by content."""
    assert template_hash("alpaca") != template_hash("plain")
    assert template_hash("alpaca") == template_hash("alpaca")


def test_a_system_text_belongs_to_the_prompt() -> None:
    """It stands in the place of Alpaca's first sentence, and before a plain prompt."""
    assert render("alpaca", "Add.", "", "Be brief.") == "Be brief.\n\n### Instruction:\nAdd.\n\n### Response:\n"
    assert render("alpaca", "Add.", "1", "{x}").startswith("{x}\n\n### Instruction:\nAdd.\n\n### Input:\n1")
    assert render("plain", "Add.", "1", "Be brief.") == "Be brief.\nAdd.\n1\n"
    assert render("plain", "", "", "Be brief.") == "Be brief.\n"
