typedef int sip_placeholder_flow;
