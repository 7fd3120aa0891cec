#include "bind/bind.h"

int sip_open_flow(lua_State *L)
{
  lua_newtable(L);
  return 1;
}
