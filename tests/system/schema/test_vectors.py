"""Vectors: found whatever a filter drops, and never of two models in one column."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.errors import CheckViolation

from tests import tenants
from tests.persons import ADA, Link

PASSAGES = 600


def test_a_filter_of_one_percent_still_gives_as_many_as_were_asked_for(link: Link) -> None:
    link.execute("select setseed(0.5)")
    link.execute("insert into maia.wisdom_sources (id, title, kind, rights) values (%s, 'Book', 'book', 'own')", [ADA])
    link.execute(
        """insert into maia.wisdom_passages (source_id, place, body, element)
        select %s, n, 'words', case when n %% 100 = 0 then 'aether' else 'fire' end from generate_series(1, %s) n""",
        [ADA, PASSAGES],
    )
    link.execute(
        """insert into maia.passage_embeddings (passage_id, digest, embedding)
        select p.id, sha256(convert_to(p.body, 'UTF8')),
               (select array_agg(random() + case when i % 8 = p.place % 8 then 1 else 0 end)
                      from generate_series(1, 768) i where p.id is not null)::extensions.vector
        from maia.wisdom_passages p"""
    )
    link.execute("set local enable_seqscan = off; set local enable_sort = off")
    wanted = str([1.0] * 768)
    query = "select count(*) from maia.match_passages(%s::extensions.vector, 6, 'aether')"
    assert link.execute(query, [wanted]).fetchone() == (6,)
    plan = """explain (costs off) select e.passage_id from maia.passage_embeddings e
        join maia.wisdom_passages p on p.id = e.passage_id where p.element = 'aether'
        order by e.embedding OPERATOR(extensions.<=>) %s::extensions.vector limit 6"""
    assert "passage_embeddings_hnsw" in "\n".join(line for (line,) in link.execute(plan, [wanted]))
    link.execute("set local search_path = maia, extensions")
    link.execute("set local hnsw.iterative_scan = off")
    bare = plan.removeprefix("explain (costs off) ")
    assert len(link.execute(bare, [wanted]).fetchall()) < 10, (
        "the index stops early by itself: the setting is what helps"
    )


def test_a_vector_of_another_model_or_size_is_refused(people: tenants.Catalogue) -> None:
    link = people.link
    for change in ("model = 'text-embedding-3-small'", "embedding = '[1,2,3]'"):
        with pytest.raises((CheckViolation, psycopg.DataError)), link.transaction():
            link.execute(f"update maia.memory_embeddings set {change}".encode())
