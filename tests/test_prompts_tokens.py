"""Counting tokens: by a tokenizer whose data is on disk, never by one that would fetch it."""

from __future__ import annotations

import base64
import hashlib
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from prompts.tokens import Encodings, counting, data_folder

pytestmark = pytest.mark.req("X7")

ADDRESS = "https://tokens.invalid/tiny.tiktoken"
MERGED = (b"th", b"the", b" the")
RANKS = [bytes([n]) for n in range(256)] + list(MERGED)
DATA = b"".join(base64.b64encode(piece) + b" " + str(rank).encode() + b"\n" for rank, piece in enumerate(RANKS))


def tiny() -> dict[str, Any]:
    """An encoding as tiktoken's own are constructed: a file by its address, held to a checksum."""
    from tiktoken.load import load_tiktoken_bpe

    ranks = load_tiktoken_bpe(
        "https://tokens.invalid/tiny.tiktoken",
        expected_hash="593f307b517e40d6cf68be97c9eea0a63a5689593ef1b91fad9a1db28da4d58e",
    )
    return {"name": "tiny", "pat_str": r" ?[a-z]+|.", "mergeable_ranks": ranks, "special_tokens": {}}


def kept(folder: Path, data: bytes = DATA) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / hashlib.sha1(ADDRESS.encode()).hexdigest()).write_bytes(data)
    return folder


def test_data_on_disk_counts_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(kept(tmp_path)))
    encoding = Encodings(tmp_path, {"tiny": tiny}).find("tiny")
    found = counting(encoding).of("the the cat")
    assert (found.tokens, found.exact, found.method) == (6, True, "tiktoken tiny")


def test_special_words_count_as_the_text_that_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(kept(tmp_path)))
    counter = counting(Encodings(tmp_path, {"tiny": tiny}).find("tiny"))
    assert counter.count("<|endoftext|>") == 13


@pytest.mark.parametrize("data", [b"", DATA + b"eHg= 300\n", None])
def test_data_that_is_missing_or_not_as_published_is_not_used(tmp_path: Path, data: bytes | None) -> None:
    folder = tmp_path / "data"
    if data is not None:
        kept(folder, data)
    assert Encodings(folder, {"tiny": tiny}).find("tiny") is None
    assert data is None or len(list(folder.iterdir())) == 1


def test_an_encoding_whose_file_is_not_known_from_its_code_is_not_used(tmp_path: Path) -> None:
    def hidden() -> dict[str, Any]:
        raise AssertionError("must not be called")

    assert Encodings(tmp_path, {"tiny": hidden}).find("tiny") is None
    assert Encodings(None, {"tiny": tiny}).find("tiny") is None


def test_the_installed_tokenizers_tell_one_address_and_one_checksum() -> None:
    from tiktoken_ext.openai_public import ENCODING_CONSTRUCTORS  # type: ignore[import-untyped]

    for name in ("cl100k_base", "o200k_base"):
        constants = [c for c in ENCODING_CONSTRUCTORS[name].__code__.co_consts if isinstance(c, str)]
        assert sum(c.startswith("https://") for c in constants) == 1, name
        assert sum(len(c) == 64 for c in constants) == 1, name


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"TIKTOKEN_CACHE_DIR": "/a", "DATA_GYM_CACHE_DIR": "/b"}, Path("/a")),
        ({"DATA_GYM_CACHE_DIR": "/b"}, Path("/b")),
        ({"TIKTOKEN_CACHE_DIR": ""}, None),
    ],
)
def test_data_is_looked_for_where_tiktoken_does(environment: dict[str, str], folder: Path | None) -> None:
    assert data_folder(environment) == folder


LISTENING = """
import sys
from prompts.tokens import count
print(count("Hello there.", "openai:gpt-4o"))
"""


def test_counting_for_a_known_model_without_its_data_asks_nobody(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        proxy = "http://{}:{}".format(*server.getsockname()[:2])
        proxies = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy)
        environment = {"PATH": "", "TIKTOKEN_CACHE_DIR": str(tmp_path), **proxies}
        here = Path(__file__).parent.parent
        made = subprocess.run(
            [sys.executable, "-c", LISTENING], cwd=here, env=environment, capture_output=True, text=True, timeout=60
        )
        assert "exact=False" in made.stdout, made.stderr
        with pytest.raises(TimeoutError):
            server.accept()
    assert list(tmp_path.iterdir()) == []
