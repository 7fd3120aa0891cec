/* serial.c - `sipeat serial VERB`: options of the verbs for ports, lines and boards; the work is in
 * stdlib/command_serial*.lua. */
#include "cli/cli.h"
#include "cli/command.h"
#include "cli/push.h"
#include "cli/serial_port.h"

#include <lauxlib.h>

enum { MAX_BAUD = 4000000, MAX_SET = 32 };

struct serial_args {
  const struct sip_option *options; /* of this verb; borrowed */
  const char *action, *operands[2];
  const char *parity, *flow, *dtr, *rts, *protocol;
  const char *through, *format, *time, *only, *filter, *hide, *log, *colour, *eol;
  const char *file, *expect, *pulse, *note, *as, *link;
  const char *set[MAX_SET];
  int64_t baud, bits, stop, max, speed, set_count;
  uint64_t byte_delay_ms, line_delay_ms, for_ms, answer_ms, timeout_ms, listen_ms;
  bool rs485, json, watch, interactive, bell, no_reopen, hex, yes, loopback;
};

#define AT(field) offsetof(struct serial_args, field)

#define TEXT(field, letter_, value_, help_)                                                        \
  {                                                                                                \
    .name = #field, .letter = (letter_), .value = (value_), .help = (help_),                       \
    .kind = SIP_OPTION_TEXT, .offset = AT(field)                                                   \
  }
#define NUMBER(field, letter_, value_, help_, min_, max_)                                          \
  {                                                                                                \
    .name = #field, .letter = (letter_), .value = (value_), .help = (help_),                       \
    .kind = SIP_OPTION_NUMBER, .offset = AT(field), .min = (min_), .max = (max_)                   \
  }
#define TIME(name_, letter_, field, help_)                                                         \
  {                                                                                                \
    .name = (name_), .letter = (letter_), .value = "TIME", .help = (help_),                        \
    .kind = SIP_OPTION_DURATION, .offset = AT(field)                                               \
  }
#define FLAG(name_, letter_, field, help_)                                                         \
  {                                                                                                \
    .name = (name_), .letter = (letter_), .help = (help_), .kind = SIP_OPTION_ON,                  \
    .offset = AT(field)                                                                            \
  }

static int add_set(void *target, const char *value, struct sip_err *err)
{
  struct serial_args *args = target;

  if (args->set_count == MAX_SET) {
    return sip_err_set(err, SIP_ETOOBIG, "was given more than %d times", MAX_SET);
  }
  args->set[args->set_count++] = value;
  return 0;
}

static const struct sip_option line_options[] = {
  NUMBER(baud, 'b', "N", "bits a second (default: the protocol's, or 115200)", 50, MAX_BAUD),
  NUMBER(bits, 'd', "N", "data bits, 5 to 8 (default 8)", 5, 8),
  TEXT(parity, 'p', "WORD", "none, even, odd, mark or space (default none)"),
  NUMBER(stop, 's', "N", "stop bits, 1 or 2 (default 1)", 1, 2),
  TEXT(flow, 'f', "WORD", "flow control: none, hard or soft (default none)"),
  TEXT(dtr, '\0', "on|off", "hold DTR there (default: as the driver leaves it)"),
  TEXT(rts, '\0', "on|off", "hold RTS there"),
  FLAG("rs485", '\0', rs485, "switch the adapter's direction for RS-485"),
  TEXT(protocol, 'P', "NAME", "what is spoken there: frames are shown in words"),
  { 0 },
};

static const struct sip_option list_options[] = {
  FLAG("watch", 'w', watch, "go on, and say what is plugged in and out"),
  FLAG("json", '\0', json, "one JSON object a port"),
  { 0 },
};

static const struct sip_option monitor_options[] = {
  TEXT(through, '\0', "PORT", "stand between this port and that one, and pass bytes both ways"),
  TEXT(format, 'x', "WORD", "hex (default), text, raw or json"),
  TEXT(time, 't', "WORD", "clock (default), start, delta, iso or off"),
  TEXT(only, '\0', "in|out", "only what comes in, or only what goes out"),
  TEXT(filter, '\0', "TEXT", "only frames with TEXT in their words or their hex"),
  TEXT(hide, '\0', "TEXT", "all but those"),
  TEXT(log, 'l', "FILE", "add what is shown to FILE too, without colours"),
  TEXT(colour, 'c', "WORD", "auto (default), always or never"),
  FLAG("bell", '\0', bell, "ring the terminal's bell when the port is lost, and when it is back"),
  FLAG("interactive", 'i', interactive, "send each line that is typed; \":hex 0A FF\" sends bytes"),
  TEXT(eol, 'e', "WORD", "what ends a line that is sent: lf (default), cr, crlf or none"),
  TIME("byte-delay", 'o', byte_delay_ms, "pause after each byte that is sent"),
  TIME("line-delay", 'O', line_delay_ms, "pause after each line that is sent"),
  FLAG("no-reopen", 'n', no_reopen, "end when the port is unplugged, in place of waiting for it"),
  TIME("for", '\0', for_ms, "end after that time"),
  NUMBER(max, 'm', "N", "end after N frames, or chunks where nothing is decoded", 1, INT64_MAX),
  { 0 },
};

static const struct sip_option send_options[] = {
  FLAG("hex", 'x', hex, "TEXT is hex: \"FA FB 42 00 43\""),
  TEXT(file, '\0', "FILE", "send the bytes of FILE; - is standard input"),
  TEXT(eol, 'e', "WORD", "add what ends a line: none (default), lf, cr or crlf"),
  TIME("byte-delay", 'o', byte_delay_ms, "pause after each byte"),
  TIME("line-delay", 'O', line_delay_ms, "pause after each line feed"),
  TIME("answer", 'r', answer_ms, "show what comes back within that time"),
  TEXT(expect, '\0', "TEXT", "wait until that comes back, for --answer (default 1s), or fail"),
  TEXT(pulse, '\0', "LINE=TIME", "before that: dtr or rts off for that time, then on"),
  FLAG("json", '\0', json, "what came back as one JSON object"),
  { 0 },
};

static const struct sip_option identify_options[] = {
  TIME("timeout", '\0', timeout_ms, "how long a protocol has to answer (default 3s)"),
  FLAG("json", '\0', json, "one JSON object"),
  { 0 },
};

static const struct sip_option record_options[] = {
  TEXT(through, '\0', "PORT", "stand between this port and that one, and pass bytes both ways"),
  TIME("for", '\0', for_ms, "end after that time (default: Ctrl-C)"),
  NUMBER(max, 'm', "N", "end after N chunks of bytes", 1, INT64_MAX),
  TEXT(note, '\0', "TEXT", "a remark, kept in the file"),
  FLAG("no-reopen", 'n', no_reopen, "end when the port is unplugged"),
  { 0 },
};

static const struct sip_option replay_options[] = {
  TEXT(as, '\0', "host|board", "whose bytes are sent (default host)"),
  NUMBER(speed, '\0', "N", "N times as fast as it was (default 1)", 1, 1000),
  TIME("answer", 'r', answer_ms, "how late an answer may be (default 1s)"),
  FLAG("yes", '\0', yes, "do not ask before bytes are sent to a board"),
  TEXT(format, 'x', "WORD", "hex (default), text, raw or json"),
  TEXT(time, 't', "WORD", "start (default), delta, clock, iso or off"),
  TEXT(only, '\0', "in|out", "show only what came in, or only what went out"),
  TEXT(filter, '\0', "TEXT", "show only frames with TEXT in their words or their hex"),
  TEXT(hide, '\0', "TEXT", "show all but those"),
  TEXT(colour, 'c', "WORD", "auto (default), always or never"),
  { 0 },
};

static const struct sip_option sim_options[] = {
  TEXT(link, '\0', "PATH", "a symbolic link to the pseudo-terminal, for as long as it runs"),
  { .name = "set",
    .value = "NAME=VALUE",
    .help = "a setting of the board; may be repeated",
    .kind = SIP_OPTION_CALL,
    .call = add_set },
  FLAG("json", '\0', json, "one JSON object a line"),
  { 0 },
};

static const struct sip_option doctor_options[] = {
  TIME("listen", '\0', listen_ms, "how long to listen at each speed (default 2s)"),
  FLAG("loopback", '\0', loopback, "TX and RX are joined: every byte must come back"),
  FLAG("json", '\0', json, "one JSON object a check"),
  { 0 },
};

static const struct sip_option no_options[] = { { 0 } };

static void push(lua_State *L, void *arg)
{
  const struct serial_args *args = arg;

  lua_newtable(L);
  sip_push_directory(L);
  sip_push_options(L, args->options, args);
  sip_push_options(L, line_options, args);
  sip_push_text(L, "action", args->action);
  sip_push_text(L, "operand", args->operands[0]);
  sip_push_text(L, "second", args->operands[1]);
  lua_createtable(L, (int)args->set_count, 0);
  for (lua_Integer i = 0; i < args->set_count; i++) {
    lua_pushstring(L, args->set[i]);
    lua_rawseti(L, -2, i + 1);
  }
  lua_setfield(L, -2, "set");
  lua_pushcfunction(L, sip_l_port_facts);
  lua_setfield(L, -2, "facts");
}

static int run(const struct sip_usage *usage, const char *action, const struct sip_option *own,
               bool has_line, int argc, char **argv)
{
  struct sip_settings settings = { 0 };
  struct serial_args args = { .action = action, .options = own };
  struct sip_option_group groups[] = {
    { "options", own, &args },
    { "line", has_line ? line_options : no_options, &args },
    { "log", sip_log_options, &settings },
  };
  struct sip_command command = {
    usage->command, "sipeat.command_serial", &settings, SIP_COMMAND_NO_BROKER, push, &args,
  };
  int operand = 0;
  int code = sip_options_parse(usage, groups, 3, argc, argv, &operand);

  if (code != SIP_GO_ON) {
    return code;
  }
  for (int i = 0; i < 2 && operand + i < argc; i++) {
    args.operands[i] = argv[operand + i];
  }
  return sip_command_run(&command);
}

#define VERB(name, least, most, missing, synopsis_, has_line, about, examples_)                    \
  static int serial_##name(int argc, char **argv)                                                  \
  {                                                                                                \
    static const struct sip_usage usage = {                                                        \
      .command = "sipeat serial " #name,                                                           \
      .synopsis = synopsis_ "[options]",                                                           \
      .text = (about),                                                                             \
      .examples = (examples_),                                                                     \
      .min_operands = (least),                                                                     \
      .max_operands = (most),                                                                      \
      .operand = (missing),                                                                        \
    };                                                                                             \
                                                                                                   \
    return run(&usage, #name, name##_options, has_line, argc, argv);                               \
  }

VERB(list, 0, 0, NULL, "", false,
     "Lists the serial ports of this machine: their stable names, what the adapter is, and who has "
     "one open.",
     "  sipeat serial list\n"
     "  sipeat serial list --watch")
VERB(
  monitor, 1, 1, "PORT", "PORT ", true,
  "Shows every byte on a line with its time, in hex, as text and, with --protocol, as frames in\n"
  "words. It opens the port itself: a line that another program has open cannot be listened to.\n"
  "To watch a program and a board talk, stand between them with --through.",
  "  sipeat serial monitor /dev/ttyUSB0 --protocol xy --hide POLL\n"
  "  sipeat serial monitor /dev/ttyUSB0 --through /tmp/tap --protocol modbus --log line.txt")
VERB(send, 1, 2, "PORT", "PORT [TEXT] ", true,
     "Sends TEXT, bytes in hex, or a file. TEXT may have \\r \\n \\t \\0 \\\\ and \\xNN in it.",
     "  sipeat serial send /dev/ttyUSB0 'V\\n' --expect v,\n"
     "  sipeat serial send /dev/ttyUSB0 --hex 'FA FB 42 00 43' --answer 500ms")
VERB(identify, 1, 1, "PORT", "PORT ", true,
     "Asks the board on a port what it is. Without --protocol each protocol is tried in turn, with "
     "its\nown speed; nothing is sent that moves anything.",
     "  sipeat serial identify /dev/ttyUSB0\n"
     "  sipeat serial identify tcp://10.0.0.7:4001 --protocol modbus")
VERB(record, 2, 2, "PORT and FILE", "PORT FILE ", true,
     "Writes what is on a line, with times, to a session file: one JSON object a line.",
     "  sipeat serial record /dev/ttyUSB0 poll.jsonl --protocol xy --for 10s")
VERB(replay, 1, 2, "FILE", "FILE [PORT] ", true,
     "Shows a session file; with a PORT, sends what the host sent then, at the times of then, and\n"
     "compares what comes back. --as board plays the board in its place.",
     "  sipeat serial replay poll.jsonl --protocol xy --time delta\n"
     "  sipeat serial replay poll.jsonl /tmp/board --speed 10 --yes")
VERB(sim, 0, 1, NULL, "[BOARD] ", false,
     "Runs the simulator of a board behind a pseudo-terminal, until Ctrl-C. What is typed are its\n"
     "commands: \"fault kind=jam slot=2\", \"status\", \"help\". Without BOARD: which boards there "
     "are.",
     "  sipeat serial sim xy --link /tmp/board\n"
     "  sipeat serial sim modbus --set profile=dispenser")
VERB(
  doctor, 1, 1, "PORT", "PORT ", true,
  "Looks why a port does not work: is it there, may this user open it, who has it, does anything\n"
  "arrive, at which speed does it make sense. Says what to do.",
  "  sipeat serial doctor /dev/ttyUSB0 --protocol xy\n"
  "  sipeat serial doctor /dev/ttyUSB0 --loopback")

int sip_verb_serial(int argc, char **argv)
{
  static const struct sip_verb verbs[] = {
    { "list", "ports, their stable names and who has them open", serial_list },
    { "monitor", "every byte on a line, with times and frames in words", serial_monitor },
    { "send", "send text, hex or a file, and show the answer", serial_send },
    { "identify", "ask the board on a port what it is", serial_identify },
    { "record", "write a session on a line to a file", serial_record },
    { "replay", "show a recorded session, or play it to a port", serial_replay },
    { "sim", "a simulated board behind a pseudo-terminal", serial_sim },
    { "doctor", "why a port does not work, and what to do", serial_doctor },
    { NULL, NULL, NULL },
  };

  return sip_cli_dispatch("sipeat serial", "Serial ports, and the boards behind them.", verbs, argc,
                          argv);
}
