"""Vectors made anew: each text once, whoever is killed when, and each model's in its own tables."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.schema import reembed
from app.schema.reembed import BATCH
from infra import schema
from infra.errors import MaiaError
from tests.persons import ADA, BEN
from tests.postgres import DATABASE, Server
from tests.processes import kill_all

MODEL, OTHER = "nomic-embed-text", "text-embedding-3-small"
TEXTS = 5 * BATCH
PROGRAM = "import sys; from infra import schema; schema.reembed(*sys.argv[1:], lambda said: print(said, flush=True))"


@dataclass
class Embedder:
    """Answers as Ollama does, with vectors that follow from the texts, as many times as it is let go."""

    url: str = ""
    dimensions: int = 768
    model: str = MODEL
    asked: list[str] = field(default_factory=list)
    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(10**6))


def vector(text: str, dimensions: int = 768) -> list[float]:
    seed = hashlib.sha256(text.encode()).digest()
    return [seed[i % 32] / 128 - 1 + i % 7 for i in range(dimensions)]


@pytest.fixture
def embedder() -> Iterator[Embedder]:
    made = Embedder()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            made.go.acquire()
            made.asked += asked["input"]
            vectors = [vector(text, made.dimensions) for text in asked["input"]]
            body = json.dumps({"model": f"{made.model}:latest", "embeddings": vectors}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that was killed is no fault."""

    with Quiet(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        made.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def texts(postgres: Server) -> Iterator[Server]:
    """Memories and passages of which some have vectors of another model already."""
    with postgres.connect(DATABASE, autocommit=True) as link:
        link.execute("insert into maia.users (id, handle, display_name) values (%s, 'ada', 'A'), (%s, 'ben', 'B')",
                     [ADA, BEN])  # fmt: skip
        link.execute(
            """insert into maia.memories (user_id, kind, body)
            select (array[%s, %s]::uuid[])[n %% 2 + 1], 'semantic', 'memory ' || n from generate_series(1, %s) n""",
            [ADA, BEN, TEXTS],
        )
        link.execute(
            "insert into maia.wisdom_sources (id, title, kind, rights) values (%s, 'Book', 'book', 'own')", [ADA]
        )
        link.execute("insert into maia.wisdom_passages (source_id, place, body) values (%s, 1, 'passage')", [ADA])
        link.execute(
            """insert into maia.memory_embeddings_1536 (memory_id, user_id, digest, embedding)
            select id, user_id, sha256(convert_to(body, 'UTF8')), %s::extensions.vector from maia.memories""",
            [str(vector("other", 1536))],
        )
        yield postgres
        link.execute("truncate maia.users, maia.wisdom_sources cascade")


def held(postgres: Server, what: str) -> Any:
    with postgres.connect(DATABASE) as link:
        return link.execute(what.encode()).fetchall()


def count(postgres: Server, table: str = "memory_embeddings") -> int:
    return int(held(postgres, f"select count(*) from maia.{table}")[0][0])


def test_one_that_was_killed_goes_on_where_it_was_and_embeds_each_text_once(texts: Server, embedder: Embedder) -> None:
    embedder.go = threading.Semaphore(2)
    command = [sys.executable, "-c", PROGRAM, texts.socket, embedder.url, MODEL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert [next(running.stdout) for _ in range(2)][-1] == f"memories: {2 * BATCH} embedded\n"
        kill_all(running)
    assert count(texts) == 2 * BATCH
    embedder.go = threading.Semaphore(10**6)
    asked = list(embedder.asked)
    assert schema.reembed(texts.socket, embedder.url, MODEL, print) == {
        "memories": TEXTS - 2 * BATCH,
        "wisdom_passages": 1,
    }
    assert not set(asked) & set(embedder.asked[len(asked) :]), "what was kept is not asked for again"
    found = held(texts, "select body, embedding::text, e.user_id = m.user_id from maia.memory_embeddings e"
                        " join maia.memories m on m.id = memory_id")  # fmt: skip
    assert {body: json.loads(kept) for body, kept, _ in found} == {
        body: pytest.approx(vector(body), abs=1e-5) for body, _, _ in found
    }
    assert len(found) == TEXTS
    assert all(same for _, _, same in found)
    assert schema.reembed(texts.socket, embedder.url, MODEL, print) == {"memories": 0, "wisdom_passages": 0}


def test_a_text_that_changed_is_embedded_again_and_no_other(texts: Server, embedder: Embedder) -> None:
    schema.reembed(texts.socket, embedder.url, MODEL, print)
    with texts.connect(DATABASE, autocommit=True) as link:
        link.execute("update maia.memories set body = 'another' where body = 'memory 7'")
        link.execute("delete from maia.memories where body = 'memory 8'")
    embedder.asked.clear()
    assert schema.reembed(texts.socket, embedder.url, MODEL, print)["memories"] == 1
    assert embedder.asked == ["another"]
    assert count(texts) == TEXTS - 1


def test_a_text_that_changes_meanwhile_is_left_for_the_next_time(texts: Server, embedder: Embedder) -> None:
    changed: list[str] = []

    def embed(asked: Any) -> Any:
        if not changed and asked[0].startswith("memory "):  # one of those that were just read
            changed.append(asked[0])
            with texts.connect(DATABASE, autocommit=True) as other:
                other.execute("update maia.memories set body = 'meanwhile' where body = %s", changed)
        return [vector(text) for text in asked]

    with texts.connect(DATABASE, autocommit=True) as link:
        reembed.run(link, MODEL, embed, print)
    assert count(texts) == TEXTS - 1
    schema.reembed(texts.socket, embedder.url, MODEL, print)
    assert embedder.asked == ["meanwhile"]


def test_vectors_of_two_models_never_meet(texts: Server, embedder: Embedder) -> None:
    before = held(texts, "select memory_id, embedding::text from maia.memory_embeddings_1536 order by 1")
    schema.reembed(texts.socket, embedder.url, MODEL, print)
    assert held(texts, "select distinct model from maia.memory_embeddings") == [(MODEL,)]
    assert held(texts, "select distinct model from maia.memory_embeddings_1536") == [(OTHER,)]
    assert held(texts, "select memory_id, embedding::text from maia.memory_embeddings_1536 order by 1") == before


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"dimensions": 1536}, "nomic-embed-text gives 768 dimensions a text; for 32 came 32, of [1536]"),
        ({"model": OTHER}, f"answers with vectors of '{OTHER}', not of '{MODEL}'"),
    ],
)
def test_what_is_not_of_the_model_is_refused(
    texts: Server, embedder: Embedder, wrong: dict[str, Any], told: str
) -> None:
    for name, value in wrong.items():
        setattr(embedder, name, value)
    with pytest.raises(MaiaError) as refused:
        schema.reembed(texts.socket, embedder.url, MODEL, print)
    assert told in str(refused.value)
    assert count(texts) == 0


def test_texts_go_to_no_other_machine_and_to_no_unknown_model(texts: Server, embedder: Embedder) -> None:
    with pytest.raises(MaiaError, match="is not on this machine"):
        schema.reembed(texts.socket, "http://embedder.example:11434", MODEL, print)
    with pytest.raises(MaiaError, match="no table holds vectors of the model 'bge'; there are nomic-embed-text, text"):
        schema.reembed(texts.socket, embedder.url, "bge", print)
    with pytest.raises(MaiaError, match="gives no vectors"):
        schema.reembed(texts.socket, "http://127.0.0.1:1", MODEL, print)


def test_two_cannot_embed_at_once(texts: Server, embedder: Embedder) -> None:
    with texts.connect(DATABASE) as other:
        other.execute("select pg_advisory_lock(%s)", [reembed.LOCK])
        with pytest.raises(MaiaError, match="somebody else is embedding"):
            schema.reembed(texts.socket, embedder.url, MODEL, print)
