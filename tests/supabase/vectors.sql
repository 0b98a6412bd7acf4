-- Vectors of four models, with both kinds of index, cosine, inner product, and halves.
create extension vector schema :vectors;
create table public.memories (
  id bigint generated always as identity primary key, owner uuid references auth.users, body text,
  large :vectors.vector(1536), middle :vectors.vector(768), small :vectors.vector(256), tiny :vectors.vector(128),
  half :vectors.halfvec(768), sparse :vectors.sparsevec(1000), loose :vectors.vector, pair :vectors.vector(3)[]);
insert into public.memories (owner, body, large, middle, small, tiny, half, sparse, loose, pair)
  select md5('user' || n)::uuid, 'memory ' || n,
    (select array_agg(sin(n * i)::float4) from generate_series(1, 1536) i)::float4[]:::vectors.vector,
    (select array_agg(cos(n * i)::float4) from generate_series(1, 768) i)::float4[]:::vectors.vector,
    case when n % 7 > 0 then (select array_agg((n % i)::float4) from generate_series(1, 256) i)::float4[]:::vectors.vector end,
    (select array_agg((1.0 / (n + i))::float4) from generate_series(1, 128) i)::float4[]:::vectors.vector,
    (select array_agg(sin(n + i)::float4) from generate_series(1, 768) i)::float4[]:::vectors.halfvec,
    '{1:0.5,1000:-2}/1000', '[1,2,3]', array['[1,2,3]'::text]::text[]:::vectors.vector[]
  from generate_series(1, 300) n;
create index memories_large on public.memories using hnsw (large :vectors.vector_cosine_ops) with (m = 8, ef_construction = 32);
create index memories_middle on public.memories using ivfflat (middle :vectors.vector_l2_ops) with (lists = 10);
create index memories_tiny on public.memories using ivfflat (tiny :vectors.vector_ip_ops) with (lists = 5);
create index memories_half on public.memories using hnsw (half :vectors.halfvec_cosine_ops);
create function public.match_memories(wanted :vectors.vector(1536), many int default 5) returns table (id bigint, near float8)
  language sql stable as $$ select id, 1 - (large <=> wanted) from memories order by large <=> wanted limit many $$;
