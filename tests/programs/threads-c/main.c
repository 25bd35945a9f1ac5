/* POSIX threads over wasi-threads: mutexes of each type, condition variables with and without a deadline, reader-writer locks, barriers,
 * thread-specific data, once, semaphores, detached threads, and C11 atomics of every width.
 *
 * Built by the compiler of ziglang 0.17.1 (clang) with the headers and the libc.a of wasi-libc that rustc 1.95's target
 * wasm32-wasip1-threads carries; build.sh has the commands. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define THREADS 8
#define ROUNDS 1000

static pthread_mutex_t plain = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t recursive;
static pthread_rwlock_t rw = PTHREAD_RWLOCK_INITIALIZER;
static pthread_barrier_t barrier;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static sem_t sem;
static _Atomic uint8_t a8;
static _Atomic uint16_t a16;
static _Atomic uint32_t a32;
static _Atomic uint64_t a64;
static _Thread_local int local = 5;
static int counter, deep, initialised, destroyed;
static long pair[2];

static void must(int e, const char *what) {
  if (e != 0) {
    printf("%s: %s\n", what, strerror(e));
    exit(1);
  }
}

static void initialise(void) { initialised++; }
static void destroy(void *p) {
  __atomic_add_fetch(&destroyed, 1, __ATOMIC_SEQ_CST);
  free(p);
}

static void *work(void *arg) {
  int id = (int)(intptr_t)arg;
  must(pthread_once(&once, initialise), "once");
  int *mine = malloc(sizeof *mine);
  *mine = id;
  must(pthread_setspecific(key, mine), "setspecific");
  local += id;
  int e = pthread_barrier_wait(&barrier);
  if (e != 0 && e != PTHREAD_BARRIER_SERIAL_THREAD) must(e, "barrier");
  for (int i = 0; i < ROUNDS; i++) {
    must(pthread_mutex_lock(&plain), "lock");
    counter++;
    must(pthread_mutex_unlock(&plain), "unlock");
    must(pthread_mutex_lock(&recursive), "lock twice");
    must(pthread_mutex_lock(&recursive), "lock twice");
    deep++;
    pthread_mutex_unlock(&recursive);
    pthread_mutex_unlock(&recursive);
    if (i % 50 == 0) {
      must(pthread_rwlock_wrlock(&rw), "wrlock");
      pair[0] += id, pair[1] -= id;
    } else {
      must(pthread_rwlock_rdlock(&rw), "rdlock");
      if (pair[0] + pair[1] != 0) exit(2);
    }
    pthread_rwlock_unlock(&rw);
    a8 += 3, a16 += 5, a32 ^= 1u << id;
    uint64_t old = a64;
    while (!atomic_compare_exchange_weak(&a64, &old, old * 6364136223846793005u + 1)) {
    }
    if (i % 100 == 0) sched_yield();
  }
  if (*(int *)pthread_getspecific(key) != id || local != 5 + id) exit(3);
  return (void *)(intptr_t)(id * id);
}

/* A ring: each thread waits for its turn with a condition variable of its own. */
static pthread_mutex_t ring_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turns[4];
static int turn, passed;

static void *ring(void *arg) {
  int id = (int)(intptr_t)arg;
  pthread_mutex_lock(&ring_lock);
  for (int i = 0; i < 250; i++) {
    while (turn != id) must(pthread_cond_wait(&turns[id], &ring_lock), "wait");
    passed++;
    turn = (turn + 1) % 4;
    pthread_cond_signal(&turns[turn]);
  }
  pthread_mutex_unlock(&ring_lock);
  return NULL;
}

static void *detached(void *arg) {
  (void)arg;
  sem_post(&sem);
  return NULL;
}

static void *trapping(void *arg) {
  (void)arg;
  __builtin_trap();
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], "trap") == 0) {
    pthread_t t;
    must(pthread_create(&t, NULL, trapping, NULL), "create");
    pthread_join(t, NULL);
    return 9;
  }
  pthread_mutexattr_t attr;
  pthread_mutexattr_init(&attr);
  pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_RECURSIVE);
  must(pthread_mutex_init(&recursive, &attr), "mutex");
  must(pthread_barrier_init(&barrier, NULL, THREADS), "barrier");
  must(pthread_key_create(&key, destroy), "key");
  must(sem_init(&sem, 0, 0), "sem");

  pthread_t t[THREADS];
  for (int i = 0; i < THREADS; i++) must(pthread_create(&t[i], NULL, work, (void *)(intptr_t)i), "create");
  intptr_t squares = 0;
  for (int i = 0; i < THREADS; i++) {
    void *result;
    must(pthread_join(t[i], &result), "join");
    squares += (intptr_t)result;
  }
  printf("work %d %d %ld %d %d\n", counter, deep, (long)squares, initialised, destroyed);
  printf("atomics %u %u %u\n", (unsigned)a8, (unsigned)a16, (unsigned)a32);
  uint64_t x = 0;
  for (int i = 0; i < THREADS * ROUNDS; i++) x = x * 6364136223846793005u + 1;
  printf("chain %s\n", x == a64 ? "whole" : "broken");

  for (int i = 0; i < 4; i++) pthread_cond_init(&turns[i], NULL);
  for (int i = 0; i < 4; i++) must(pthread_create(&t[i], NULL, ring, (void *)(intptr_t)i), "create");
  for (int i = 0; i < 4; i++) pthread_join(t[i], NULL);
  printf("ring %d\n", passed);

  for (int i = 0; i < 20; i++) {
    pthread_t d;
    must(pthread_create(&d, NULL, detached, NULL), "create");
    must(pthread_detach(d), "detach");
  }
  for (int i = 0; i < 20; i++) sem_wait(&sem);
  printf("detached 20\n");

  struct timespec at;
  clock_gettime(CLOCK_REALTIME, &at);
  at.tv_nsec += 20000000;
  if (at.tv_nsec >= 1000000000) at.tv_sec++, at.tv_nsec -= 1000000000;
  pthread_mutex_lock(&plain);
  int e = pthread_cond_timedwait(&turns[0], &plain, &at);
  printf("deadline %s\n", e == ETIMEDOUT ? "passed" : strerror(e));
  return 0;
}
