#!/usr/bin/env python3
"""The store of the flows keeps its promises on Supabase too: its Lua test, against a strict fake."""
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from support.fake_supabase import FakeSupabase  # noqa: E402

SOURCE = os.environ["SIPEAT_SOURCE"]
LUATEST = os.path.join(os.path.dirname(os.environ["SIPEAT_BINARY"]), "tests", "luatest")

with FakeSupabase() as fake:
    environment = {**os.environ, "NEXT_PUBLIC_SUPABASE_URL": fake.url, "NEXT_PUBLIC_SUPABASE_ANON_KEY": fake.key}
    result = subprocess.run([LUATEST, os.path.join(SOURCE, "tests/lua/scripts_store_test.lua")], env=environment,
                            timeout=120, check=False)
    assert result.returncode == 0, "the Lua test failed with Supabase as the store"
    assert len(fake.rows("reservations")) == 2 + 7, fake.rows("reservations")
print("ok")
