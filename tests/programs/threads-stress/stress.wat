;; Eight threads, each with an instance of its own, on one shared memory: a lock made of wait and notify that protects a plain
;; counter, atomic counters of all widths, barriers, and growth by one thread into which all others then write. Nothing may be lost.
;;
;;   0 lock         4 counter under the lock       8 i64 counter       16 barrier: arrived     20 barrier: generation
;;  24 newest page  28 counter by cmpxchg, 16 bits  32 i32 counter      36 counter of 8 bits    40 xor of all
(module
  (import "env" "memory" (memory 1 200 shared))
  (global $threads i32 (i32.const 8))

  (func $lock
    (if (i32.eqz (i32.atomic.rmw.cmpxchg (i32.const 0) (i32.const 0) (i32.const 1))) (then (return)))
    (loop $again
      (if (i32.eqz (i32.atomic.rmw.xchg (i32.const 0) (i32.const 2))) (then (return)))
      (drop (memory.atomic.wait32 (i32.const 0) (i32.const 2) (i64.const -1)))
      (br $again)))

  (func $unlock
    (if (i32.ne (i32.atomic.rmw.sub (i32.const 0) (i32.const 1)) (i32.const 1))
      (then
        (i32.atomic.store (i32.const 0) (i32.const 0))
        (drop (memory.atomic.notify (i32.const 0) (i32.const 1))))))

  (func $barrier (local $generation i32)
    (local.set $generation (i32.atomic.load (i32.const 20)))
    (if (i32.eq (i32.atomic.rmw.add (i32.const 16) (i32.const 1)) (i32.sub (global.get $threads) (i32.const 1)))
      (then
        (i32.atomic.store (i32.const 16) (i32.const 0))
        (drop (i32.atomic.rmw.add (i32.const 20) (i32.const 1)))
        (drop (memory.atomic.notify (i32.const 20) (i32.const -1)))
        (return)))
    (loop $again
      (if (i32.eq (i32.atomic.load (i32.const 20)) (local.get $generation))
        (then
          ;; Sometimes with a timeout, which may pass: the loop looks again.
          (drop (memory.atomic.wait32 (i32.const 20) (local.get $generation)
            (select (i64.const -1) (i64.const 100000) (i32.and (local.get $generation) (i32.const 1)))))
          (br $again)))))

  ;; Adds 1 to 16 bits by comparing and exchanging.
  (func $add16 (local $old i32)
    (loop $again
      (local.set $old (i32.atomic.load16_u (i32.const 28)))
      (br_if $again (i32.ne
        (i32.atomic.rmw16.cmpxchg_u (i32.const 28) (local.get $old) (i32.add (local.get $old) (i32.const 1)))
        (local.get $old)))))

  ;; One thread grows the memory, and every thread writes into the new page: nobody else was told of its size.
  (func $grow_by_one (param $id i32) (param $round i32) (result i32) (local $page i32)
    (if (i32.eq (i32.rem_u (local.get $round) (i32.const 64)) (i32.mul (local.get $id) (i32.const 8)))
      (then
        (local.set $page (memory.grow (i32.const 1)))
        (i32.atomic.store (i32.const 24) (local.get $page))))
    (call $barrier)
    (local.set $page (i32.mul (i32.atomic.load (i32.const 24)) (i32.const 65536)))
    (if (i32.eqz (local.get $page)) (then (return (i32.const 0))))
    (i32.store (i32.add (local.get $page) (i32.add (i32.const 65504) (i32.mul (local.get $id) (i32.const 4)))) (local.get $round))
    (call $barrier)
    ;; What the neighbour wrote there.
    (i32.ne
      (i32.load (i32.add (local.get $page)
        (i32.add (i32.const 65504) (i32.mul (i32.rem_u (i32.add (local.get $id) (i32.const 1)) (global.get $threads)) (i32.const 4)))))
      (local.get $round)))

  ;; Works so many rounds as thread $id (from 0); how often something was not as it should be.
  (func (export "work") (param $id i32) (param $rounds i32) (result i32) (local $round i32) (local $wrong i32)
    (loop $next
      (call $lock)
      (i32.store (i32.const 4) (i32.add (i32.load (i32.const 4)) (i32.const 1)))
      (call $unlock)
      (drop (i64.atomic.rmw.add (i32.const 8) (i64.const 0x100000001)))
      (drop (i32.atomic.rmw.add (i32.const 32) (i32.const 3)))
      (drop (i32.atomic.rmw8.add_u (i32.const 36) (i32.const 1)))
      (drop (i64.atomic.rmw32.xor_u (i32.const 40) (i64.extend_i32_u (i32.shl (i32.const 1) (local.get $id)))))
      (call $add16)
      (local.set $wrong (i32.add (local.get $wrong) (call $grow_by_one (local.get $id) (local.get $round))))
      (local.set $round (i32.add (local.get $round) (i32.const 1)))
      (br_if $next (i32.lt_u (local.get $round) (local.get $rounds))))
    (local.get $wrong))

  (func (export "size") (result i32) (memory.size)))
