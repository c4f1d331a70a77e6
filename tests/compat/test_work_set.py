"""What runs and what has run, as Sidekiq's API counts it (checklist 13 to 21)."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from devtools.gokiq import Server

from .harness import Stand, assertion
from .life import wait_identity

pytestmark = pytest.mark.acceptance
