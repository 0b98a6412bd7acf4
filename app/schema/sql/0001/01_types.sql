-- Kinds of values that columns share.

create domain element as text check (value in ('fire', 'water', 'earth', 'air', 'aether'));
comment on domain element is 'One of the five elements.';
create domain phase_code as text check (value ~ '^[FWEA][123]$');
comment on domain phase_code is 'One of the twelve phases of the Spiralogic: element by letter, then 1 to 3.';
create domain archetype as text check (value = btrim(value) and char_length(value) between 1 and 80);
comment on domain archetype is 'The name of an archetype. Free, because people find their own.';
create domain life_domain as text
    check (value in ('career', 'relationship', 'parenting', 'health', 'creativity', 'spirituality'));
comment on domain life_domain is 'A part of life in which a person can be in another phase than elsewhere.';
create domain label as text check (value = btrim(value) and char_length(value) between 1 and 200);
comment on domain label is 'A short name or title, without blanks around it.';
create domain slug as text check (value ~ '^[a-z0-9]+([-_][a-z0-9]+)*$' and char_length(value) <= 80);
comment on domain slug is 'A name for programs and addresses.';
create domain prose as text check (char_length(value) <= 100000);
comment on domain prose is 'Text that people write.';
create domain score as real check (value between 0 and 1);
comment on domain score is 'A share between none and all.';
create domain cognitive_level as numeric(3, 2) check (value between 1 and 6);
comment on domain cognitive_level is 'Level of a turn or its rolling mean, 1 to 6.';
create domain scale10 as smallint check (value between 0 and 10);
comment on domain scale10 is 'What a person says on a scale from 0 to 10.';
create domain count as integer check (value >= 0);
comment on domain count is 'How many.';
create domain fields as jsonb check (jsonb_typeof(value) = 'object');
comment on domain fields is 'A JSON object.';
create domain digest as bytea check (octet_length(value) = 32);
comment on domain digest is 'SHA-256.';
create domain longitude360 as numeric(9, 6) check (value >= 0 and value < 360);
comment on domain longitude360 is 'Ecliptic longitude in degrees.';

-- 4 bytes of mark, format, algorithm, key, nonce of 12, ciphertext with a tag of 16: see docs/schema/sealed.md.
create domain sealed as bytea check (
    octet_length(value) between 50 and 16777216
    and substring(value from 1 for 4) = '\x4d414941'::bytea and get_byte(value, 4) = 1 and get_byte(value, 5) = 1);
comment on domain sealed is 'Ciphertext made by the client; the appliance never has its key.';
create domain enveloped as bytea check (
    octet_length(value) between 50 and 65536
    and substring(value from 1 for 4) = '\x4d414945'::bytea and get_byte(value, 4) = 1 and get_byte(value, 5) = 1);
comment on domain enveloped is 'Ciphertext made by a service, whose keys are outside the database.';

-- Identities that sort by the time they were made, so that new rows stand together in their index (RFC 9562, version 7).
create function uuid7() returns uuid language sql volatile parallel safe set search_path = '' as $$
    select encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
        placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3) from 1 for 6),
        52, 1), 53, 1), 'hex')::uuid
$$;
comment on function uuid7 is 'A new identity that sorts after those made before it.';

create function sealed_key(content bytea) returns uuid
language sql immutable strict parallel safe set search_path = '' as $$
    select encode(substring(content from 7 for 16), 'hex')::uuid
$$;
comment on function sealed_key is 'The key that the header of a ciphertext names.';

create function touch() returns trigger language plpgsql set search_path = '' as $$
begin
    new.updated_at := now();
    return new;
end
$$;
comment on function touch is 'Keeps updated_at.';
