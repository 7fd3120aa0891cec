#ifndef SIP_SERIAL_VTK_STATE_H
#define SIP_SERIAL_VTK_STATE_H
/* vtk_state.h - what vtk.c (the link to a reader) and vtk_operation.c (one operation on it) share.
 */
#include "serial/frame.h"
#include "serial/noise.h"
#include "serial/party.h"
#include "serial/vtk_frame.h"

enum vtk_state { VTK_DOWN, VTK_INACTIVE, VTK_IDLE, VTK_DISABLED };

enum vtk_phase {
  VTK_NONE,
  VTK_REQUEST,  /* VRP or CDP is to be answered */
  VTK_APPROVED, /* the reader gave an amount; FIN is owed */
  VTK_FINISH,   /* FIN is to be answered */
  VTK_DOUBT     /* nobody waits any more, and the reader may have charged */
};

enum { VTK_TEXT = 64, VTK_NUMBER_MAX = 99999999 }; /* at most 8 digits, what follows is not said */

struct vtk_operation {
  enum vtk_phase phase;
  bool deposit;   /* CDP, else VRP */
  bool sent;      /* once at least, or taken up again: only this reader's memory makes it safe */
  bool waiting;   /* for an answer, until reply_us */
  bool decided;   /* `delivered` is what FIN says, now and ever */
  int64_t number; /* -1: not given yet */
  int64_t amount, approved, delivered;
  int64_t reply_us, deadline_us;
  uint64_t ticket;       /* 0: nobody waits */
  char reader[VTK_TEXT]; /* the reader's identity when it was first sent */
  char product[VTK_TEXT];
};

/* A sale that was paid otherwise, told to the reader with IDL. */
struct vtk_sale {
  uint64_t ticket; /* 0: none */
  int64_t number, amount, deadline_us;
  char name[VTK_TEXT], product[VTK_TEXT];
};

struct vtk {
  struct sip_party party;
  bool tcp, enabled;
  enum vtk_state state;
  struct sip_framer in;
  struct sip_noise noise;
  int64_t heard_us, idl_us;
  int64_t keepalive_s, timeout_s;
  int64_t last;  /* the reader's last operation number */
  int64_t event; /* and event number, or -1 */
  char id[VTK_TEXT];
  bool identified;
  uint64_t asked; /* ticket of `resolve`, answered with the next IDL; 0: none */
  int64_t asked_number, asked_us;
  struct vtk_operation op;
  struct vtk_sale sale;
};

/** Tells a result with an outcome, code and reason; `code` NULL: there is nothing to explain. */
void sip_vtk_answer(struct vtk *vtk, uint64_t ticket, const char *outcome, const char *code,
                    const char *reason);

/** Sends a message with name and, unless negative, operation number and amount. */
int sip_vtk_send(struct vtk *vtk, const char *name, int64_t number, int64_t amount,
                 const char *product);

/** The reader does not answer: shakes hands anew before anything else. */
void sip_vtk_inactive(struct vtk *vtk, int64_t now_us, const char *why);

/** Sends what the operation needs next, if it may. */
void sip_vtk_advance(struct vtk *vtk, int64_t now_us);

/** A VRP, CDP or FIN of the reader. */
void sip_vtk_replied(struct vtk *vtk, int64_t now_us, const struct sip_vtk_message *message);

/** Looks at the operation's times. */
void sip_vtk_operation_due(struct vtk *vtk, int64_t now_us);
int64_t sip_vtk_operation_due_us(const struct vtk *vtk);

/** The commands charge, deposit, settle, refund, abort. */
int sip_vtk_request(struct vtk *vtk, int64_t now_us, const struct sip_note *command,
                    struct sip_err *err);
int sip_vtk_settle(struct vtk *vtk, int64_t now_us, const struct sip_note *command,
                   struct sip_err *err);

#endif
