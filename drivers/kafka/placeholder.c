typedef int sip_placeholder_kafka;
