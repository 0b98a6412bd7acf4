-- Meaning as vectors. Each column is of one model, written beside it and checked: vectors of two models never meet in
-- one index.

create table embedding_models (
    name text primary key,
    dimensions smallint not null check (dimensions between 1 and 2000),
    about prose,
    unique (name, dimensions)
);
comment on table embedding_models is 'Models that make vectors.';
select pg_temp.reference('embedding_models');
insert into embedding_models values
    ('nomic-embed-text', 768, 'The one that runs on the appliance.'),
    ('text-embedding-3-small', 1536, 'What data that moves here may bring along.');

create table memory_embeddings (
    memory_id uuid primary key,
    user_id uuid not null references users on delete cascade,
    model text not null default 'nomic-embed-text' check (model = 'nomic-embed-text') references embedding_models,
    embedding vector(768) not null,
    digest digest not null,
    created_at timestamptz not null default now()
);
comment on table memory_embeddings is 'Memories by meaning.';
comment on column memory_embeddings.digest is 'Of the text that it is of: where that is another one by now, it is embedded anew.';
comment on column memory_embeddings.embedding is 'By nomic-embed-text, 768 dimensions, compared by cosine.';
select pg_temp.own('memory_embeddings');
select pg_temp.within('memory_embeddings', 'memory_id', 'memories');
create index memory_embeddings_hnsw on memory_embeddings using hnsw (embedding vector_cosine_ops);

create table memory_embeddings_1536 (
    memory_id uuid primary key,
    user_id uuid not null references users on delete cascade,
    model text not null default 'text-embedding-3-small' check (model = 'text-embedding-3-small') references embedding_models,
    embedding vector(1536) not null,
    digest digest not null,
    created_at timestamptz not null default now()
);
comment on table memory_embeddings_1536 is 'The same, by the model of 1536 dimensions.';
comment on column memory_embeddings_1536.digest is 'Of the text that it is of: where that is another one by now, it is embedded anew.';
comment on column memory_embeddings_1536.embedding is
    'By text-embedding-3-small, 1536 dimensions. Its index holds halves, which is a third of the size and as good.';
select pg_temp.own('memory_embeddings_1536');
select pg_temp.within('memory_embeddings_1536', 'memory_id', 'memories');
create index memory_embeddings_1536_hnsw on memory_embeddings_1536
    using hnsw ((embedding::halfvec(1536)) halfvec_cosine_ops);

create table passage_embeddings (
    passage_id uuid primary key references wisdom_passages on delete cascade,
    model text not null default 'nomic-embed-text' check (model = 'nomic-embed-text') references embedding_models,
    embedding vector(768) not null,
    digest digest not null
);
comment on table passage_embeddings is 'Passages of wisdom by meaning.';
comment on column passage_embeddings.digest is 'Of the text that it is of: where that is another one by now, it is embedded anew.';
comment on column passage_embeddings.embedding is 'By nomic-embed-text, 768 dimensions, compared by cosine.';
select pg_temp.reference('passage_embeddings');
create index passage_embeddings_hnsw on passage_embeddings using hnsw (embedding vector_cosine_ops);

create table passage_embeddings_1536 (
    passage_id uuid primary key references wisdom_passages on delete cascade,
    model text not null default 'text-embedding-3-small' check (model = 'text-embedding-3-small') references embedding_models,
    embedding vector(1536) not null,
    digest digest not null
);
comment on table passage_embeddings_1536 is 'The same, by the model of 1536 dimensions.';
comment on column passage_embeddings_1536.digest is 'Of the text that it is of: where that is another one by now, it is embedded anew.';
comment on column passage_embeddings_1536.embedding is 'By text-embedding-3-small, 1536 dimensions; indexed as halves.';
select pg_temp.reference('passage_embeddings_1536');
create index passage_embeddings_1536_hnsw on passage_embeddings_1536
    using hnsw ((embedding::halfvec(1536)) halfvec_cosine_ops);

-- A search walks on through the index until it has as many as were asked for, whatever policies and filters drop.
create function match_memories(query vector, wanted integer default 10)
returns table (memory_id uuid, body text, similarity double precision)
language sql stable set search_path = maia, extensions set hnsw.iterative_scan = 'strict_order' set hnsw.max_scan_tuples = 2147483647
as $$
    select e.memory_id, m.body::text, 1 - (e.embedding <=> query::vector(768)) as similarity
    from memory_embeddings e join memories m on m.id = e.memory_id
    where e.user_id = (select auth.uid())
    order by e.embedding <=> query::vector(768) limit least(wanted, 200)
$$;
comment on function match_memories is 'The memories of the one who asks that are nearest in meaning.';

create function match_passages(query vector, wanted integer default 10, within_element element default null)
returns table (passage_id uuid, body text, similarity double precision)
language sql stable set search_path = maia, extensions set hnsw.iterative_scan = 'strict_order' set hnsw.max_scan_tuples = 2147483647
as $$
    select e.passage_id, p.body::text, 1 - (e.embedding <=> query::vector(768)) as similarity
    from passage_embeddings e join wisdom_passages p on p.id = e.passage_id
    where within_element is null or p.element = within_element
    order by e.embedding <=> query::vector(768) limit least(wanted, 200)
$$;
comment on function match_passages is 'The passages that are nearest in meaning, of one element if asked.';
