def scan(payload: bytes, names: tuple[str, ...]) -> tuple[bytes | None, ...]:
    """The raw JSON text of the value of each of these top-level fields, None where it is missing.

    Of a field that is there twice the last one counts, as in Ruby's JSON. Raises PayloadError when
    the payload is not one JSON object by its structure; linear time, constant memory at any depth.
    """

def text(raw: bytes | None) -> str | None:
    """What a JSON string stands for; None when `raw` is None or no string.

    Invalid UTF-8 and surrogates without a partner become U+FFFD.
    """

def number(raw: bytes | None) -> int | float | None:
    """The value of a JSON number; None when `raw` is None or no number.

    An integer of more than 4000 digits becomes a float, which is an infinity.
    """

def splice(payload: bytes, edits: dict[str, bytes]) -> bytes:
    """The payload with these top-level fields set to the given raw JSON; all other bytes unchanged.

    The value of a field is replaced where it stands, the last one of several; a missing field is
    added before the closing brace. The given JSON is not checked. Raises PayloadError as `scan`.
    """

def quote(s: str) -> bytes:
    r"""A JSON string as Ruby's generator writes it: only ", \ and control characters are escaped.

    Surrogates become U+FFFD. Source: json ext/json/generator/generator.c, convert_UTF8_to_JSON.
    """

def quote_bytes(b: bytes) -> bytes:
    """As `quote`, of text that is UTF-8 already; what is invalid becomes U+FFFD."""
