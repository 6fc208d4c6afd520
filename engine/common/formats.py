"""Numbers as people read them: counts with their noun, measured values, durations, shares, sizes."""

from __future__ import annotations


def count(number: float, one: str, many: str = "") -> str:
    """`1 sample`, `1,800 samples`."""
    return f"{number:,.0f} {one if number == 1 else many or one + 's'}"


def value(number: float, digits: int = 3) -> str:
    """A measured number with a few significant digits: `0.418`, `12.3`, `1,240`; `NaN`."""
    if number != number:
        return "NaN"
    if abs(number) >= 10**digits:
        return f"{number:,.0f}"
    return f"{number:.{digits}g}"


def duration(seconds: float | None) -> str:
    """`40 s`, `3 min 20 s`, `2 h 05 min`; "" for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def share(part: float, whole: float) -> str:
    """`41 %`; `0.4 %` near both ends; `0 %` if `whole` is 0."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.1f} %" if 0 < percent < 1 or 99 < percent < 100 else f"{percent:.0f} %"


def parameters(number: int) -> str:
    """`361 M parameters`, `1.2 M parameters`, `840 k parameters`."""
    return f"{_scaled(number, ('k', 'M', 'B'))} parameters"


def size(number: int) -> str:
    """Bytes in the units memory is sold in: `840 MB`, `1.2 GB`, `12 bytes`."""
    return _scaled(number, ("kB", "MB", "GB")) if number >= 1000 else f"{number} bytes"


def _scaled(number: int, units: tuple[str, str, str]) -> str:
    for power, unit in zip((3, 2, 1), reversed(units), strict=True):
        if (scaled := number / 1000**power) >= 1:
            return f"{scaled:.1f} {unit}" if scaled < 10 else f"{scaled:.0f} {unit}"
    return str(number)
