typedef int sip_placeholder_sqlite;
