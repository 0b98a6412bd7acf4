-- What holds for every table, and what is taken back of what follows from the policies.

select pg_temp.finish();
select pg_temp.explain_common();

select pg_temp.only('users', 'handle, display_name, pronouns, locale, time_zone');
select pg_temp.only('user_data_pause', 'resumed_at');
select pg_temp.only('notifications', 'read_at');
select pg_temp.only('groups', 'slug, title, about, visibility, element');
select pg_temp.only('group_members', 'role');
select pg_temp.only('community_threads', 'title, body');
select pg_temp.only('community_replies', 'body');
select pg_temp.only('community_commons_posts', 'title, body, phase, element, tags');
select pg_temp.only('community_commons_comments', 'body');
select pg_temp.only('peer_support_matches', 'state, closed_at');
select pg_temp.only('moderation_reports', 'state, settled_at');
select pg_temp.only('moderation_appeals', 'state, decided_by');
select pg_temp.only('content_holds', 'released_at');
select pg_temp.only('sealing_keys', 'wrapped, derivation, retired_at');
select pg_temp.only('supervision_relationships', 'agreed_at, during');
select pg_temp.only('agent_emergence_candidates', 'state');
select pg_temp.only('maia_adaptations', 'active');
-- Nobody writes into a record when it was written.
select pg_temp.only('user_consent_log', 'user_id, purpose, version, given', 'insert');
select pg_temp.only('client_consents', 'practitioner_id, client_id, subject, given, given_by, evidence', 'insert');
select pg_temp.only('data_requests', 'user_id, kind', 'insert');
select pg_temp.only('moderation_reports', 'user_id, rule, subject_kind, subject_id, reason', 'insert');
select pg_temp.only('moderation_actions', 'report_id, moderator_id, user_id, kind, reason, until', 'insert');
select pg_temp.only('moderation_appeals', 'action_id, user_id, reason', 'insert');
select pg_temp.only('steward_actions_log', 'steward_id, kind, subject, reason', 'insert');

revoke execute on all functions in schema maia, auth from public;
grant execute on all functions in schema auth to anon, authenticated, service_role;
grant execute on all functions in schema maia to authenticated, service_role;
revoke execute on function redeem_passcode, broken_chains, changed_unlogged, change_root from authenticated, service_role;
grant execute on function redeem_passcode to authenticated;
grant usage on schema maia to anon, authenticated, service_role, maia_auditor;

-- The log and what it stands for are nobody's to change, with the service key either.
revoke insert, update, delete on change_log, change_heads from service_role;
revoke update, delete on user_consent_log, client_consents, user_deletion_log from service_role;

-- Whoever reads or writes these is named in Postgres' own log.
grant select, insert, update, delete on clinical_practitioners, sealing_keys, clinical_clients, client_consents,
    session_notes, clinical_assessments, treatment_plans, treatment_goals, outcome_measurements, risk_flags, research_data, supervision_sessions, referrals, appointments,
    user_consent_log, user_health_profile to maia_auditor;
