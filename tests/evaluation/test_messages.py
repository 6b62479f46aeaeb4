"""Messages about files whose names have blanks and letters of other languages."""

from __future__ import annotations

import pytest

from afpn_yolo.upstream.log import one_line


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("/büch er/Größe.pt", "/büch er/Größe.pt"),
        ("/データ/изображения/صور/a.jpg", "/データ/изображения/صور/a.jpg"),
        ("20 °C © x² ½", "20 °C © x² ½"),
        ("Dataset 'ä.yaml' error ❌\n  not found ⚠️ 🚀", "Dataset 'ä.yaml' error not found"),
        ("ERROR ❌️ module 'X' is not permitted", "module 'X' is not permitted"),
        ("/ERROR/a.pt", "/ERROR/a.pt"),
        ("\x1b[31m\x1b[1mred\x1b[0m\x07\x9b text", "red text"),
        ("a\u202egpj.exe", "agpj.exe"),  # it would be shown from right to left
        ("/\udcff/a.pt", "/?/a.pt"),  # a byte that is no letter
        ("", "ValueError"),
    ],
)
def test_a_message_keeps_letters_and_loses_pictures(message: str, shown: str) -> None:
    assert one_line(ValueError(message)) == shown
