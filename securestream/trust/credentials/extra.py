"""What is said where the extra is missing."""

from __future__ import annotations

NEEDED = "this kind of credentials needs the extra `credentials`: pip install 'securestream[credentials]'"
