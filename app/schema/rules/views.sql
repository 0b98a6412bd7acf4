-- Views read as whoever asks.
select c.relname, 'a view that reads as its owner' from pg_class c
where c.relnamespace = 'maia'::regnamespace and c.relkind = 'v'
  and not coalesce('security_invoker=true' = any (c.reloptions), false)
