// Who is signed in, and what that role may do.
import { createContext } from "preact";
import { useContext } from "preact/hooks";

const RANK = { viewer: 1, operator: 2, admin: 3 };

export const Session = createContext(null);

export const useSession = () => useContext(Session);

/** null when the role may; else why not, for people. */
export function useRefusal(role) {
  const session = useSession();
  if (!role || RANK[session.user.role] >= RANK[role]) return null;
  const { user } = session;
  return `This needs the role ${role}; you are signed in as ${user.role}.`;
}
