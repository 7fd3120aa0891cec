// Who is signed in, and what that role may do.
import { createContext } from "preact";
import { useContext } from "preact/hooks";

const RANK = { viewer: 1, operator: 2, admin: 3 };

export const Session = createContext(null);

export const useSession = () => useContext(Session);

/** null when the role may; else why not, for people. */
export function useRefusal(role) {
  const { user } = useSession();
  if (!role || RANK[user.role] >= RANK[role]) return null;
  return `This needs the role ${role}; you are signed in as ${user.role}.`;
}
