/*
 * The hand-off of connections among callers: acquire, cancel, the result of a connect, return, destroy, close.
 * The pool is one thread: what it does on one event is one atomic step, and the order of events is open.
 * N callers, each of which comes once and may give up while it waits; at most M connections; at most F connects fail.
 *
 * Checked: the assertions of CHECK after every step, and that no caller is left waiting when nothing can happen any more
 * (an invalid end state). With a defect defined (BARGE, NO_REFILL, EARLY_FREE, LOST_CANCEL) one of them must be violated.
 */
#ifndef N
#define N 3
#endif
#ifndef M
#define M 2
#endif
#ifndef F
#define F 2
#endif

mtype = { away, waiting, holding, done }
mtype caller[N]
chan queue = [N] of { byte }
byte idle, opening, leased, closing, failures
/* Connections that the server has: a close that is under way still counts there. */
byte real
bool isClosed

#define taken (idle + opening + leased + closing)

inline CHECK() {
  assert(taken <= M);
  assert(real <= M);
  assert(isClosed || !(len(queue) > 0 && idle > 0));
  assert(!isClosed || len(queue) == 0)
}

/* Opens what is lacking, and no more. */
inline refill() {
  do
  :: !isClosed && len(queue) > opening && taken < M -> opening++
  :: else -> break
  od
}

/* A connection that nobody holds: to the caller at the head, or idle. */
inline offer() {
  byte head;
#ifdef BARGE
  /* Whoever comes first may take it; those who wait are only told. */
  idle++;
#else
  if
  :: isClosed -> closing++
  :: !isClosed && len(queue) > 0 -> queue?head; caller[head] = holding; leased++
  :: !isClosed && len(queue) == 0 -> idle++
  fi
#endif
}

active [N] proctype Caller() {
  byte me = _pid;
  /* Some would wait for ever: those are left behind by a wake-up that is lost. */
  bool patient;
  if
  :: patient = true
  :: patient = false
  fi;
  atomic {
    if
    :: isClosed -> caller[me] = done
    :: !isClosed && idle > 0 && len(queue) == 0 -> idle--; leased++; caller[me] = holding
    :: else -> caller[me] = waiting; queue!me; refill()
    fi;
    CHECK()
  }
  do
  :: atomic { caller[me] == waiting && !patient ->
      /* It gives up: it leaves the queue from wherever it stands. An attempt that was begun for it goes on. */
#ifndef LOST_CANCEL
      queue??eval(me);
#endif
      caller[me] = done; CHECK() } ; break
  :: atomic { caller[me] == holding ->
      leased--; caller[me] = done; offer(); CHECK() } ; break
  :: atomic { caller[me] == holding ->
      /* Destroyed, or broken. */
      leased--; closing++; caller[me] = done; 
#ifdef EARLY_FREE
      closing--; refill();
#endif
      CHECK() } ; break
  :: atomic { caller[me] == done -> break }
  od
}

active proctype Server() {
end:
  do
  :: atomic { opening > 0 -> opening--; real++; offer(); refill(); CHECK() }
  :: atomic { opening > 0 && failures < F -> opening--; failures++; refill(); CHECK() }
  :: atomic { closing > 0 -> closing--; real--;
#ifndef NO_REFILL
      refill();
#endif
      CHECK() }
#ifdef EARLY_FREE
  :: atomic { real > idle + leased + closing -> real--; CHECK() }
#endif
  od
}

/* Somebody closes the pool, at any time or never. */
active proctype Closer() {
  byte head;
  if
  :: true -> skip
  :: atomic { !isClosed ->
      isClosed = true;
      do
      :: len(queue) > 0 -> queue?head; caller[head] = done
      :: else -> break
      od;
      closing = closing + idle;
      idle = 0;
      CHECK() }
  fi
}
