/*
 * The hand-off of connections among callers: acquire, cancel, the result of a connect, return, destroy, detach, close.
 * The pool runs one transition at a time: each is one atomic step, and the order of events is open.
 * N callers, each of which comes once and may give up while it waits; at most M connections; at most F connects fail.
 * User code that runs in the middle of a transition (hasBroken) calls the pool at most K times: what it calls waits in
 * the mailbox until the transition ends.
 *
 * Checked: the assertions of CHECK after every transition, that each move of a slot is one that the table of the code
 * allows (MOVE), and that no caller is left waiting when nothing can happen any more (an invalid end state).
 * With a defect defined (BARGE, NO_REFILL, EARLY_FREE, LOST_CANCEL, NO_MAILBOX) one of them must be violated.
 */
#include "moves.h"
#ifndef N
#define N 3
#endif
#ifndef M
#define M 2
#endif
#ifndef F
#define F 2
#endif
#ifndef K
#define K 2
#endif

mtype = { waiting, holding, done }
mtype = { callAcquire, callClose }
/* The last one is the caller that user code makes of itself. */
mtype caller[N + 1]
chan queue = [N + 1] of { byte }
chan mailbox = [K + 1] of { mtype }
byte idle, opening, leased, closing, gone, failures
byte calls = K
/* Connections that the server has: a close that is under way still counts there. */
byte real
bool isClosed

#define taken (idle + opening + leased + closing)
/* gone is not counted: it would tell apart states that are the same. */
#define MOVE(from, to) assert(LEGAL_##from##_##to); assert(from > 0); from--; to++; gone = 0

inline CHECK() {
  assert(taken <= M);
  assert(real <= M);
  assert(isClosed || !(len(queue) > 0 && idle > 0));
  assert(!isClosed || (len(queue) == 0 && idle == 0))
}

/* Opens what is lacking, and no more. */
inline refill() {
  do
  :: !isClosed && len(queue) > opening && taken < M -> opening++
  :: else -> break
  od
}

/* A caller gets an idle connection, or a place in the queue. */
inline joins(who) {
  if
  :: isClosed -> caller[who] = done
  :: !isClosed && idle > 0 && len(queue) == 0 -> MOVE(idle, leased); caller[who] = holding
  :: else -> caller[who] = waiting; queue!who
  fi
}

inline closes() {
  isClosed = true;
  do
  :: len(queue) > 0 -> queue?head; caller[head] = done
  :: else -> break
  od;
  do
  :: idle > 0 -> MOVE(idle, closing);
  :: else -> break
  od
}

inline does(command) {
  if
  :: command == callAcquire -> joins(N)
  :: command == callClose && !isClosed -> closes()
  :: else -> skip
  fi
}

/* User code in the middle of a transition. */
inline userCode() {
  if
  :: calls > 0 && caller[N] == 0 ->
      calls--; caller[N] = waiting; letter = callAcquire
  :: calls > 0 -> calls--; letter = callClose
  :: true -> letter = 0
  fi;
  if
  :: letter == 0 -> skip
#ifdef NO_MAILBOX
  :: else -> does(letter)
#else
  :: else -> mailbox!letter
#endif
  fi
}

/* The end of each transition: what was called within it, then what is lacking. */
inline settles() {
  do
  :: nempty(mailbox) -> mailbox?letter; does(letter)
  :: empty(mailbox) -> break
  od;
  refill();
  CHECK()
}

/* A connection is idle within a transition: it goes to the caller at the head, or rests, unless user code finds it broken. */
inline serves() {
  if
  :: isClosed && idle > 0 -> MOVE(idle, closing);
#ifndef BARGE
  :: !isClosed && len(queue) > 0 && idle > 0 -> userCode();
      queue?head; caller[head] = holding; MOVE(idle, leased);
#endif
  :: else -> skip
  fi
}

/* A connection comes back: closed, handed over to the caller at the head, or idle. */
inline returns() {
  if
  :: isClosed -> MOVE(leased, closing);
#ifdef BARGE
  /* Whoever comes first may take it; those who wait are only told. */
  :: else -> MOVE(leased, idle);
#else
  :: !isClosed && len(queue) > 0 -> userCode();
      queue?head; caller[head] = holding; MOVE(leased, leased);
  :: !isClosed && len(queue) == 0 -> MOVE(leased, idle);
#endif
  fi
}

inline ends(who) {
  caller[who] = done;
  if
  :: returns()
  /* Destroyed, or broken. */
  :: MOVE(leased, closing);
#ifdef EARLY_FREE
     MOVE(closing, gone);
#endif
  /* Detached: it counts no more. */
  :: MOVE(leased, gone); real--
  fi;
  settles()
}

active [N] proctype Caller() {
  byte me = _pid;
  byte head;
  mtype letter;
  /* Some would wait forever: those are left behind by a wake-up that is lost. */
  bool patient;
  if
  :: patient = true
  :: patient = false
  fi;
  atomic { 
    /* hasBroken runs for the idle connection before it is handed out. */
    if
    :: !isClosed && idle > 0 && len(queue) == 0 -> userCode(); MOVE(idle, leased); caller[me] = holding
    :: else -> joins(me)
    fi;
    settles()
  }
  do
  :: atomic { caller[me] == waiting && !patient ->
      /* It gives up: it leaves the queue from wherever it stands. An attempt that was begun for it goes on. */
#ifndef LOST_CANCEL
      queue??eval(me);
#endif
      caller[me] = done; settles() } ; break
  :: atomic { caller[me] == holding -> ends(me) } ; break
  :: atomic { caller[me] == done -> break }
  od
}

/* The caller that user code made of itself ends its lease as every other. */
active proctype UserCode() {
  byte head;
  mtype letter;
end:
  caller[N] != 0;
  do
  :: atomic { caller[N] == holding -> ends(N) } ; break
  :: atomic { caller[N] == done -> break }
  od
}

active proctype Server() {
  byte head;
  mtype letter;
end:
  do
  :: atomic { opening > 0 -> real++;
      if
      :: isClosed -> MOVE(opening, closing);
      :: else -> MOVE(opening, idle); serves()
      fi;
      settles() }
  :: atomic { opening > 0 && failures < F -> MOVE(opening, gone); failures++; settles() }
  :: atomic { closing > 0 -> MOVE(closing, gone); real--;
#ifdef NO_REFILL
      CHECK()
#else
      settles()
#endif
      }
#ifdef EARLY_FREE
  :: atomic { real > idle + leased + closing -> real--; CHECK() }
#endif
  od
}

/* The pool is closed from outside, at any time or never. */
active proctype Closer() {
  byte head;
  mtype letter;
  if
  :: true -> skip
  :: atomic { !isClosed -> closes(); settles() }
  fi
}
