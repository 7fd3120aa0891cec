typedef int sip_placeholder_cli;
