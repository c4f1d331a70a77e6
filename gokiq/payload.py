"""Chooses the implementation of payload reading: compiled, or plain Python for GOKIQ_PURE=1."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING or os.environ.get("GOKIQ_PURE") != "1":
    from gokiq._payload import number, quote, quote_bytes, scan, splice, text
else:
    from gokiq._payload_py import number, quote, quote_bytes, scan, splice, text

__all__ = ["number", "quote", "quote_bytes", "scan", "splice", "text"]
