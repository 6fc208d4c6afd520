"""Found by Streamlit if the very first visit after a start is a link to this page; see `first_visit`."""

from pages.shared.frame import first_visit

first_visit()
