/*
 * The drain of a share: how a connection goes from the callers of the share to an exclusive caller of the pool below, and
 * back. A connection is free, leased by an exclusive caller, or held by the share with some of its P seats taken. The share
 * waits in the queue of the pool below like any other caller, with one request at a time.
 * S callers of the share and X exclusive callers come again and again: the load never ends. Each transition is one atomic
 * step, and the order of events is open.
 *
 * Checked: the assertions of CHECK after every transition; S7: no exclusive caller gets a connection with a taken seat; and
 * with weak fairness (each event that stays possible happens) that every exclusive caller and every caller of the share is
 * served (S2). With a defect defined (NO_DRAIN, TAKES_SEATS, OVERTAKES, GIVES_BUSY, KEEPS_EMPTY) one of them must be violated.
 */
#ifndef M
#define M 2
#endif
#ifndef P
#define P 2
#endif
#ifndef S
#define S 2
#endif
#ifndef X
#define X 1
#endif
#define NONE 255
#define SHARE 254

mtype = { free, leased, held }
mtype state[M] = free
byte seats[M]
bool draining[M]
/* The connections that the share holds, the one held longest first. */
chan order = [M] of { byte }
/* Waiters of the pool below, and of the share, first come first. `first` is used by the defect OVERTAKES only. */
chan queue = [X + 1] of { byte }
chan first = [1] of { byte }
chan callers = [S] of { byte }
byte seatOf[S] = NONE
byte leaseOf[X] = NONE
bool exclusiveWaits[X]
bool sharerWaits[S]
bool requested
byte asking

#define isEverythingHeld (len(order) == M)
#if M == 1
#define numberDraining (draining[0])
#else
#define numberDraining (draining[0] + draining[1])
#endif

inline count() {
  heldCount = 0; drainCount = 0; freeOne = NONE; emptyOne = NONE; best = NONE;
  at = 0;
  do
  :: at < M ->
     if
     :: state[at] == free -> freeOne = at
     :: state[at] == held ->
        heldCount++;
        if
        :: draining[at] -> drainCount++
        :: else
        fi;
        if
        :: seats[at] == 0 -> emptyOne = at
        :: else
        fi;
        if
#ifdef TAKES_SEATS
        :: seats[at] < P && (best == NONE || seats[at] < seats[best]) -> best = at
#else
        :: !draining[at] && seats[at] < P && (best == NONE || seats[at] < seats[best]) -> best = at
#endif
        :: else
        fi
     :: else
     fi;
     at++
  :: else -> break
  od
}

inline giveBack(which) {
  order ?? eval(which);
  draining[which] = false;
  state[which] = free
}

/* The end of each transition: makes reality converge. */
inline settle() {
  do
  :: true ->
     count();
     if
     /* A caller of the share gets a seat on the connection with the fewest taken. */
     :: len(callers) > 0 && best != NONE ->
        callers ? who; seats[best]++; seatOf[who] = best; sharerWaits[who] = false
     /* The share needs one more connection. */
     :: len(callers) > 0 && best == NONE && !requested && heldCount < M ->
        requested = true;
#ifdef OVERTAKES
        first ! SHARE
#else
        queue ! SHARE
#endif
     /* A free connection goes to the head of the queue. */
     :: (len(callers) == 0 || best == NONE) && freeOne != NONE && (len(queue) > 0 || len(first) > 0) ->
        if
        :: len(first) > 0 -> first ? who
        :: len(first) == 0 -> queue ? who
        fi;
        if
        :: who == SHARE -> requested = false; state[freeOne] = held; order ! freeOne
        :: else ->
           assert(seats[freeOne] == 0);
           state[freeOne] = leased; leaseOf[who] = freeOne; exclusiveWaits[who] = false; asking--
        fi
#ifndef KEEPS_EMPTY
     /* While another caller waits, an empty connection is given back. */
     :: (len(callers) == 0 || best == NONE) && asking > 0 && emptyOne != NONE -> giveBack(emptyOne)
#endif
     :: else -> break
     fi
  od;
  CHECK();
  at = 0; heldCount = 0; drainCount = 0; freeOne = NONE; emptyOne = NONE; best = NONE; who = NONE
}

inline CHECK() {
  count();
  assert(!(asking > 0 && emptyOne != NONE && len(callers) == 0));
  assert(!(freeOne != NONE && (len(queue) > 0 || len(first) > 0)));
  assert(!(best != NONE && len(callers) > 0));
  at = 0;
  do
  :: at < M -> assert(seats[at] <= P && (state[at] == held || seats[at] == 0)); at++
  :: else -> break
  od
}

#define LOCALS byte at = 0, heldCount = 0, drainCount = 0, freeOne = NONE, emptyOne = NONE, best = NONE, who = NONE

proctype Sharer(byte me) {
  LOCALS;
  do
  :: atomic { sharerWaits[me] = true; callers ! me; settle() }
     atomic {
       seatOf[me] != NONE ->
       /* Its statement is answered. */
       seats[seatOf[me]]--;
       if
       :: seats[seatOf[me]] == 0 && draining[seatOf[me]] -> giveBack(seatOf[me])
       :: else
       fi;
       seatOf[me] = NONE;
       settle()
     }
  od
}

proctype Exclusive(byte me) {
  LOCALS;
  do
  :: atomic { exclusiveWaits[me] = true; asking++; queue ! me; settle() }
     atomic { leaseOf[me] != NONE -> state[leaseOf[me]] = free; leaseOf[me] = NONE; settle() }
  od
}

/* 20 ms have passed while the share holds every connection, and another caller waits. */
proctype Patience() {
  LOCALS;
  do
  :: atomic {
       asking > 0 && isEverythingHeld && numberDraining < asking ->
       at = 0;
       do
       :: at < len(order) ->
          order ? who;
          if
          :: !draining[who] && best == NONE -> draining[who] = true; best = who
          :: else
          fi;
          order ! who;
          at++
       :: else -> break
       od;
       if
#ifdef GIVES_BUSY
       :: best != NONE -> giveBack(best)
#else
       :: best != NONE && seats[best] == 0 -> giveBack(best)
#endif
       :: else
       fi;
       settle()
     }
  od
}

init {
  byte n = 0;
  atomic {
    do
    :: n < S -> run Sharer(n); n++
    :: else -> break
    od;
    n = 0;
    do
    :: n < X -> run Exclusive(n); n++
    :: else -> break
    od;
#ifndef NO_DRAIN
    run Patience()
#endif
  }
}

ltl served { ([] (exclusiveWaits[0] -> <> !exclusiveWaits[0])) && ([] (sharerWaits[0] -> <> !sharerWaits[0])) }
