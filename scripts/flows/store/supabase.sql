-- The tables of SipEat for Supabase: paste into the project's SQL editor, once. Running it again is harmless.
-- A reservation and its stock change together, so they are functions of the database, called through /rpc.

create table if not exists contacts (
  email text primary key, name text not null, phone text, company_name text, type text not null,
  message text not null, score integer not null, reasons text not null, event_id text not null,
  updated_at timestamptz not null
);
create table if not exists machines (
  machine_id text primary key, name text not null, type text not null,
  status text not null check (status in ('setting_up', 'active')),
  address text not null, city text, country text, latitude double precision, longitude double precision,
  driver text not null, proof text not null check (proof in ('sensor', 'counter', 'none')),
  event_id text not null, updated_at timestamptz not null
);
create table if not exists machine_drivers (
  machine_id text primary key, settings text not null, payment text, audit text, event_id text not null,
  updated_at timestamptz not null
);
create table if not exists machine_health (
  machine_id text primary key, state text not null, reason text, board text, last_fault text,
  last_fault_at timestamptz, last_sale_at timestamptz, audited_at timestamptz, updated_at timestamptz not null
);
create table if not exists inventory (
  machine_id text not null, slot integer not null, drink text not null,
  stock integer not null check (stock >= 0), capacity integer not null check (capacity >= stock),
  price_minor bigint not null check (price_minor >= 0), currency text not null,
  event_id text not null, updated_at timestamptz not null, primary key (machine_id, slot)
);
create table if not exists reservations (
  event_id text primary key, machine_id text not null, slot integer not null, drink text not null,
  state text not null check (state in ('held', 'dispensing', 'dispensed', 'released')),
  updated_at timestamptz not null
);
create table if not exists machine_network (
  machine_id text primary key, mode text not null check (mode in ('dhcp', 'static')),
  address text unique, gateway text, mask text, event_id text not null, updated_at timestamptz not null
);
create table if not exists maintenance (
  machine_id text not null, kind text not null, every_days integer not null check (every_days > 0),
  next_at timestamptz not null, technician text, event_id text not null, updated_at timestamptz not null,
  primary key (machine_id, kind)
);
create table if not exists submissions (
  event_id text primary key, kind text not null, digest text not null, about text not null,
  state text not null check (state in ('taken', 'sent', 'lost', 'done', 'dead')), why text, ended text,
  created_at timestamptz not null, updated_at timestamptz not null
);
create table if not exists confirmations (
  event_id text primary key, token text not null, machine_id text not null, slot integer not null,
  drink text not null, customer text not null, email text, payment_id text, payment_key text,
  state text not null check (state in ('open', 'confirmed', 'denied', 'settled')),
  updated_at timestamptz not null
);

-- Takes one drink for an event: the reservation, or nothing when the slot is empty. The same event gets the same one.
create or replace function reserve_drink(p_event_id text, p_machine_id text, p_slot integer)
returns json language plpgsql as $$
declare
  r reservations;
  i inventory;
begin
  insert into reservations (event_id, machine_id, slot, drink, state, updated_at)
    values (p_event_id, p_machine_id, p_slot, '', 'released', now()) on conflict (event_id) do nothing;
  select * into r from reservations where event_id = p_event_id for update;
  if r.state <> 'released' then
    return json_build_object('outcome', 'kept', 'reservation', row_to_json(r));
  end if;
  update inventory set stock = stock - 1, updated_at = now()
    where machine_id = p_machine_id and slot = p_slot and stock > 0 returning * into i;
  if not found then
    delete from reservations where event_id = p_event_id and drink = '';
    return json_build_object('outcome', 'sold_out');
  end if;
  update reservations set machine_id = p_machine_id, slot = p_slot, drink = i.drink, state = 'held',
    updated_at = now() where event_id = p_event_id returning * into r;
  return json_build_object('outcome', 'held', 'reservation', row_to_json(r));
end $$;

-- Puts the drink of an event back, unless it has fallen or was put back before.
create or replace function release_drink(p_event_id text)
returns json language plpgsql as $$
declare
  r reservations;
begin
  update reservations set state = 'released', updated_at = now()
    where event_id = p_event_id and state in ('held', 'dispensing') returning * into r;
  if not found then
    return json_build_object('outcome', 'nothing_held');
  end if;
  update inventory set stock = stock + 1, updated_at = now()
    where machine_id = r.machine_id and slot = r.slot and stock < capacity;
  return json_build_object('outcome', 'released', 'reservation', row_to_json(r));
end $$;
