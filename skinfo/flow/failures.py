"""Which exceptions are about one layer at one checkpoint, and which end a sweep."""

from __future__ import annotations

from sklearn.utils._param_validation import InvalidParameterError

#: What no layer can do anything for: it would be the same everywhere, or is not ours to hide.
OF_THE_CALL = (
    InvalidParameterError,
    TypeError,
    AttributeError,
    NameError,
    ImportError,
    NotImplementedError,
    MemoryError,
    Warning,
)


def in_words(error: Exception) -> str:
    """What an exception says; with its type, where that is not ours or says more.

    Examples
    --------
    >>> in_words(ValueError("too large")), in_words(EOFError())
    ('too large', 'EOFError')
    >>> in_words(FloatingPointError("overflow"))
    'FloatingPointError: overflow'
    """
    text = str(error)
    if isinstance(error, ValueError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
