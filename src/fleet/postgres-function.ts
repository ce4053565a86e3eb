import { KEPT_LEASES, KEPT_LEASES_IF_NEEDED } from './roster.ts'

/** The columns of the table: a row with an empty `member` for each fleet, and a row for each member. */
export function createTable(table: string): string {
  return `create table if not exists ${table} (fleet text, member text, protocol bigint, budget bigint, closed_until float8,
    started float8, sequence bigint not null default 0, lease_ms float8, floor bigint, weight float8, demand bigint, share bigint,
    expires_at float8, primary key (fleet, member)) with (fillfactor = 50)`
}

/** The name of the function that applies a beat. Its number changes with its text. */
export function functionOf(table: string): string {
  return `${table}_beat_1`
}

/**
 * `applyBeat` in PL/pgSQL, for beats that come together: one call is one transaction that holds the row of the fleet, so beats wait for each other and never
 * repeat their work. Only a beat that raises a share is on disk before it is answered.
 */
export function createFunction(table: string): string {
  return `
create function ${functionOf(table)}(the_fleet text, beats jsonb) returns json language plpgsql as $function$
declare
  meta record;
  roster record;
  own record;
  beat jsonb;
  answers jsonb := '[]';
  the_id text;
  its_floor bigint;
  its_lease float8;
  moment float8;
  start float8 := extract(epoch from pg_postmaster_start_time()) * 1000;
  free bigint;
  new_share bigint;
  has_raised boolean := false;
begin
  update ${table} set sequence = sequence + 1 where fleet = the_fleet and member = '' returning * into meta;
  if not found then
    insert into ${table} (fleet, member) values (the_fleet, '') on conflict do nothing;
    update ${table} set sequence = sequence + 1 where fleet = the_fleet and member = '' returning * into meta;
  end if;
  moment := extract(epoch from clock_timestamp()) * 1000;
  select max(lease_ms) as longest, max(least(expires_at, moment + lease_ms)) as newest,
      max(least(expires_at - lease_ms, moment)) as heard, bool_and(member = beats->0->>'id') as is_alone,
      count(*) filter (where expires_at <= moment or expires_at > moment + lease_ms) as odd
    into roster from ${table} where fleet = the_fleet and member <> '';
  meta.closed_until := coalesce(meta.closed_until, moment);
  if roster.longest is not null then
    if meta.started <> start or (not roster.is_alone and (roster.newest <= moment
        or moment - roster.heard > roster.longest / 2)) then
      meta.closed_until := moment + roster.longest;
    end if;
    meta.closed_until := least(meta.closed_until, moment + roster.longest);
  end if;
  if roster.odd > 0 then
    update ${table} set expires_at = least(expires_at, moment + lease_ms),
        share = case when expires_at <= moment then least(share, floor) else share end
      where fleet = the_fleet and member <> ''
        and (expires_at > moment + lease_ms or (expires_at <= moment and share > floor));
    delete from ${table} where fleet = the_fleet and member <> '' and expires_at + ${KEPT_LEASES} * lease_ms <= moment;
  end if;
  select count(*) as members, coalesce(sum(t.floor), 0) as floors, coalesce(sum(t.share), 0) as shares
    into roster from ${table} as t where t.fleet = the_fleet and t.member <> '';
  for beat in select value from jsonb_array_elements(beats) loop
    the_id := beat->>'id';
    its_floor := (beat->>'floor')::bigint;
    its_lease := (beat->>'leaseMs')::float8;
    select t.floor, t.share, t.sequence into own from ${table} as t where t.fleet = the_fleet and t.member = the_id;
    if roster.members = 0 then
      meta.protocol := (beat->>'protocol')::bigint;
      meta.budget := (beat->>'budget')::bigint;
    end if;
    if meta.protocol <> (beat->>'protocol')::bigint then
      answers := answers || jsonb_build_object('refused', 'protocol', 'instead', meta.protocol);
      continue;
    end if;
    if meta.budget <> (beat->>'budget')::bigint then
      answers := answers || jsonb_build_object('refused', 'budget', 'instead', meta.budget);
      continue;
    end if;
    if own.sequence is null and roster.floors + its_floor > meta.budget then
      if moment >= meta.closed_until then
        delete from ${table} where fleet = the_fleet and member <> ''
          and expires_at + ${KEPT_LEASES_IF_NEEDED} * lease_ms <= moment;
        select count(*) as members, coalesce(sum(t.floor), 0) as floors, coalesce(sum(t.share), 0) as shares
          into roster from ${table} as t where t.fleet = the_fleet and t.member <> '';
      end if;
      if roster.floors + its_floor > meta.budget then
        answers := answers || jsonb_build_object('refused', 'floors', 'instead', roster.floors);
        continue;
      end if;
    end if;
    free := case when moment >= meta.closed_until then greatest(0, meta.budget - (roster.shares - coalesce(own.share, 0))) else 0 end;
    new_share := own.share;
    if own.sequence is null or (beat->>'sequence')::bigint > own.sequence then
      new_share := greatest((beat->>'held')::bigint, least((beat->>'wanted')::bigint, free));
      has_raised := has_raised or new_share > coalesce(own.share, 0);
      insert into ${table} as t (fleet, member, sequence, lease_ms, floor, weight, demand, share, expires_at)
        values (the_fleet, the_id, (beat->>'sequence')::bigint, its_lease, its_floor, (beat->>'weight')::float8,
          (beat->>'demand')::bigint, new_share, moment + its_lease)
        on conflict (fleet, member) do update set sequence = excluded.sequence, lease_ms = excluded.lease_ms,
          floor = excluded.floor, weight = excluded.weight, demand = excluded.demand, share = excluded.share,
          expires_at = excluded.expires_at;
      roster.members := roster.members + case when own.sequence is null then 1 else 0 end;
      roster.floors := roster.floors + its_floor - coalesce(own.floor, 0);
      roster.shares := roster.shares + new_share - coalesce(own.share, 0);
    end if;
    answers := answers || jsonb_build_object('share', new_share, 'fits', new_share <= free);
  end loop;
  update ${table} as t set protocol = meta.protocol, budget = meta.budget, closed_until = meta.closed_until, started = start
    where t.fleet = the_fleet and t.member = '' and (t.protocol, t.budget, t.closed_until, t.started)
      is distinct from (meta.protocol, meta.budget, meta.closed_until, start);
  -- A crash may undo what is not on disk yet: only that shares were kept, or became smaller.
  if not has_raised then
    perform set_config('synchronous_commit', 'off', true);
  end if;
  -- Two long texts: building an object for each member takes most of the time of a beat.
  return (select json_build_object('answers', answers, 'ids', json_agg(t.member), 'numbers',
      string_agg(t.floor || ' ' || t.weight || ' ' || t.demand || ' ' || t.share || case when t.expires_at <= moment
        then ' 1' else ' 0' end, ','))
    from ${table} as t where t.fleet = the_fleet and t.member <> '');
end
$function$`
}
