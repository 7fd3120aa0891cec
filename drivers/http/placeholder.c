typedef int sip_placeholder_http;
