-- Everything that somebody made in a database, with the kind and the name that Postgres itself gives it.
with found (classid, objid, schema, hint) as (
  select 'pg_namespace'::regclass::oid, oid, nspname::text, null::text from pg_namespace
  union all select 'pg_extension'::regclass, oid, extnamespace::regnamespace::text, null from pg_extension
  union all select 'pg_class'::regclass, c.oid, n.nspname, null
    from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r','p','v','m','S','f','i','I')
      -- An index that a constraint stands on is the constraint.
      and not exists (select from pg_constraint k where k.conindid = c.oid and k.contype in ('p','u','x'))
  union all select 'pg_type'::regclass, t.oid, n.nspname,
      case t.typtype when 'e' then 'enum' when 'd' then 'domain' when 'r' then 'range' when 'c' then 'composite type' end
    from pg_type t join pg_namespace n on n.oid = t.typnamespace
    where t.typtype in ('e','d','r','b') and not (t.typtype = 'b' and t.typelem <> 0 and t.typlen = -1)
       or t.typtype = 'c' and exists (select from pg_class c where c.oid = t.typrelid and c.relkind = 'c')
  union all select 'pg_proc'::regclass, p.oid, n.nspname, case p.prokind when 'p' then 'procedure' when 'a' then 'aggregate' end
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace
  union all select 'pg_constraint'::regclass, k.oid, n.nspname,
      case k.contype when 'p' then 'primary key' when 'u' then 'unique constraint' when 'f' then 'foreign key'
                     when 'c' then 'check' when 'x' then 'exclusion constraint' end
    from pg_constraint k join pg_namespace n on n.oid = k.connamespace
    where k.conparentid = 0 and k.contype in ('p','u','f','c','x')
  union all select 'pg_trigger'::regclass, t.oid, c.relnamespace::regnamespace::text, null
    from pg_trigger t join pg_class c on c.oid = t.tgrelid where not t.tgisinternal and t.tgparentid = 0
  union all select 'pg_policy'::regclass, p.oid, n.nspname, null
    from pg_policy p join pg_class c on c.oid = p.polrelid join pg_namespace n on n.oid = c.relnamespace
  union all select 'pg_rewrite'::regclass, r.oid, n.nspname, null
    from pg_rewrite r join pg_class c on c.oid = r.ev_class join pg_namespace n on n.oid = c.relnamespace
    where r.rulename <> '_RETURN'
  union all select 'pg_statistic_ext'::regclass, s.oid, n.nspname, null
    from pg_statistic_ext s join pg_namespace n on n.oid = s.stxnamespace
  union all select 'pg_collation'::regclass, c.oid, n.nspname, null
    from pg_collation c join pg_namespace n on n.oid = c.collnamespace
  union all select 'pg_operator'::regclass, o.oid, n.nspname, null
    from pg_operator o join pg_namespace n on n.oid = o.oprnamespace
  union all select 'pg_opclass'::regclass, o.oid, n.nspname, null
    from pg_opclass o join pg_namespace n on n.oid = o.opcnamespace
  union all select 'pg_ts_config'::regclass, t.oid, n.nspname, null
    from pg_ts_config t join pg_namespace n on n.oid = t.cfgnamespace
  union all select 'pg_ts_dict'::regclass, t.oid, n.nspname, null
    from pg_ts_dict t join pg_namespace n on n.oid = t.dictnamespace
  union all select 'pg_cast'::regclass, oid, '', null from pg_cast
  union all select 'pg_language'::regclass, oid, '', null from pg_language where lanispl
  union all select 'pg_foreign_data_wrapper'::regclass, oid, '', null from pg_foreign_data_wrapper
  union all select 'pg_foreign_server'::regclass, oid, '', null from pg_foreign_server
  union all select 'pg_publication'::regclass, oid, '', null from pg_publication
  union all select 'pg_event_trigger'::regclass, oid, '', null from pg_event_trigger
  union all select 'pg_default_acl'::regclass, d.oid, coalesce(n.nspname, ''), null
    from pg_default_acl d left join pg_namespace n on n.oid = d.defaclnamespace
)
select f.classid, f.objid, coalesce(f.hint, i.type) as kind, coalesce(f.schema, '') as schema, i.identity
from found f, lateral pg_identify_object(f.classid, f.objid, 0) i
where f.objid >= 16384 and f.schema !~ '^pg_' and f.schema <> 'information_schema'
  and not exists (select from pg_depend d where d.classid = f.classid and d.objid = f.objid
    -- Of an extension, or made with a range.
    and (d.deptype = 'e' or d.deptype = 'i' and f.classid in ('pg_proc'::regclass, 'pg_cast'::regclass)))
union all select 'pg_namespace'::regclass, oid, 'schema', nspname, 'public' from pg_namespace where nspname = 'public'
order by 3, 4, 5
