"""A button that copies the address of the view on the screen."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

_mount = st.components.v2.component(
    "winnow_copy_link",
    html='<button type="button">Copy link</button>\n<span role="status"></span>',
    css="""
:host { display: block; }
button { font: inherit; font-family: var(--st-font); font-size: 0.875rem; color: var(--st-text-color); background: none;
  border: none; padding: 6px 8px; border-radius: var(--st-button-radius); cursor: pointer; text-decoration: underline;
  text-underline-offset: 3px; text-decoration-color: var(--st-border-color); white-space: nowrap; }
button:hover { background: var(--st-secondary-background-color); }
button:focus-visible { outline: 2px solid var(--st-primary-color); }
span { font-family: var(--st-font); font-size: 0.8rem; color: var(--st-text-color); opacity: 0.7;
  overflow-wrap: anywhere; }
""",
    js="""
export default function ({ data, parentElement }) {
  const button = parentElement.querySelector("button")
  const status = parentElement.querySelector("span")
  button.onclick = async () => {
    const link = new URL(window.location.href)
    for (const [name, value] of Object.entries(data.also)) {
      if (!link.searchParams.has(name)) link.searchParams.set(name, value)
    }
    try {
      await navigator.clipboard.writeText(link.href)
      status.textContent = "copied"
      setTimeout(() => (status.textContent = ""), 2000)
    } catch {
      status.textContent = link.href // no clipboard here: show the link, so that it can be copied by hand
    }
  }
}
""",
)


def draw(*, key: str, also: Mapping[str, str] | None = None) -> None:
    """Draw it. `also` names parameters whose defaults change with time, so that the link does not."""
    _mount(key=key, data={"also": dict(also or {})}, width="content")
